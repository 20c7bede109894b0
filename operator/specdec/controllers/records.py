"""Reads and stores checkpoints: what is accepted is stored before anything acts on it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from specdec import desired
from specdec.api import names
from specdec.api.resource import SpeculativeDeployment
from specdec.controllers.checkpoint import Checkpoint, CheckpointUnreadable, read
from specdec.controllers.children import Children
from specdec.controllers.difference import Difference, difference
from specdec.controllers.recovering import recovered
from specdec.kube.cache import Seen
from specdec.observed import Refusal


@dataclass(frozen=True, slots=True)
class Records:
    """Checkpoints as ConfigMaps, one per resource."""

    children: Children

    def stored(self, resource: SpeculativeDeployment, seen: Seen) -> tuple[Checkpoint, str | None]:
        """The checkpoint as another life of this operator left it, and why it could not be read, if so.

        Where it is lost, what the live Deployment tells.
        """
        # Children of an earlier resource of the same name may still wait for the garbage collector.
        ours = [child for child in seen.children if _owned_by(child, resource.metadata.uid)]
        place = ("ConfigMap", names.checkpoint(resource.name))
        try:
            found = read(next((child for child in ours if (child["kind"], child["metadata"]["name"]) == place), None))
        except CheckpointUnreadable as error:
            return replace(recovered(resource, ours), unreadable=error.text), str(error)
        return (found if found.accepted is not None else recovered(resource, ours)), None

    async def store(self, resource: SpeculativeDeployment, seen: Seen, checkpoint: Checkpoint) -> tuple[Refusal, ...]:
        """Write `checkpoint` where it is not what stands. What is refused is not stored: nothing may act on it."""
        found = difference([desired.checkpoint(resource, checkpoint.data())], seen.children)
        return await self.children.write(Difference(found.writes, ()))


def _owned_by(child: dict[str, object], uid: str) -> bool:
    metadata = child["metadata"]
    assert isinstance(metadata, dict)
    return any(owner.get("uid") == uid for owner in metadata.get("ownerReferences") or ())
