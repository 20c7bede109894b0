"""Reads and stores checkpoints: what is accepted is stored before anything acts on it."""

from __future__ import annotations

from dataclasses import dataclass

from specdec import desired
from specdec.api import names
from specdec.api.resource import SpeculativeDeployment
from specdec.controllers.checkpoint import Checkpoint, read
from specdec.controllers.children import Children
from specdec.controllers.difference import Difference, difference
from specdec.kube.cache import Seen
from specdec.observed import Refusal


@dataclass(frozen=True, slots=True)
class Records:
    """Checkpoints as ConfigMaps, one per resource."""

    children: Children

    def stored(self, resource: SpeculativeDeployment, seen: Seen) -> Checkpoint:
        """The checkpoint as another life of this operator left it; raises CheckpointUnreadable."""
        name = names.checkpoint(resource.name)
        found = (child for child in seen.children if (child["kind"], child["metadata"]["name"]) == ("ConfigMap", name))
        # That of an earlier resource of the same name may still wait for the garbage collector.
        return read(next((child for child in found if _owned_by(child, resource.metadata.uid)), None))

    async def store(self, resource: SpeculativeDeployment, seen: Seen, checkpoint: Checkpoint) -> tuple[Refusal, ...]:
        """Write `checkpoint` where it is not what stands. What is refused is not stored: nothing may act on it."""
        found = difference([desired.checkpoint(resource, checkpoint.data())], seen.children)
        return await self.children.write(Difference(found.writes, ()))


def _owned_by(child: dict[str, object], uid: str) -> bool:
    metadata = child["metadata"]
    assert isinstance(metadata, dict)
    return any(owner.get("uid") == uid for owner in metadata.get("ownerReferences") or ())
