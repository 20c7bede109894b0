"""One pass over one resource: from what is seen to what is written, and when to look again."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from specdec import desired, tuning
from specdec.api import names
from specdec.api.event import Event
from specdec.api.manifest import Manifest
from specdec.api.resource import SpeculativeDeployment, parse
from specdec.controllers import announcements
from specdec.controllers.accepting import amended
from specdec.controllers.checkpoint import Checkpoint
from specdec.controllers.children import Children
from specdec.controllers.difference import Difference, Write, difference
from specdec.controllers.loops import Again
from specdec.controllers.metrics import Metrics
from specdec.controllers.records import Records
from specdec.controllers.standing import Standing
from specdec.controllers.statuses import Statuses
from specdec.controllers.tokens import LOOK_AGAIN_WHILE_PODS_WAIT_SECONDS, Tokens
from specdec.controllers.tuner import Tuner
from specdec.kube.cache import Cache, Seen
from specdec.kube.kinds import BY_NAME, UNWATCHED, Name
from specdec.observed import Refusal

ALARM_AGAIN_SECONDS: Final = 3600.0


@dataclass(slots=True)
class Reconciler:
    """`work` is what a loop calls. Level-triggered: it may be cut off between any two lines and called again.

    now: seconds since the epoch.
    """

    cache: Cache
    children: Children
    records: Records
    tokens: Tokens
    tuner: Tuner
    statuses: Statuses
    metrics: Metrics
    now: Callable[[], float]
    _standings: dict[Name, Standing] = field(default_factory=dict)

    async def work(self, name: Name) -> Again:
        with self.metrics.passes.time():
            return await self._pass(name)

    async def _pass(self, name: Name) -> Again:
        seen = self.cache.seen(name)
        if seen.resource is None or seen.resource["metadata"].get("deletionTimestamp"):
            return self.forget(name)
        resource = parse(seen.resource)
        if not isinstance(resource, SpeculativeDeployment):
            await self.statuses.stall(seen.resource, resource)
            self.metrics.stands(name, self.cache.seen(name).resource)
            return Again()
        standing = await self._standing(name, resource, seen)
        # What is stored is no news to the next pass: if this one failed first, nobody would tell of it.
        await self.statuses.tell(seen.resource, await self._accept(resource, standing, seen))
        if not standing.refusals:
            await self.tuner.tell(resource, standing)
            await self.statuses.tell(seen.resource, await self._apply(resource, standing, seen))
        again = await self.tuner.ask(resource, standing, seen)
        await self.statuses.report(resource, standing, self.cache.seen(name))
        self.metrics.stands(name, self.cache.seen(name).resource)
        return self._next(name, standing, seen, again)

    def _next(self, name: Name, standing: Standing, seen: Seen, asked: Again) -> Again:
        """When to look again: as the tuner `asked`, or sooner where something was refused."""
        if standing.refusals or standing.token_refusals:
            look = LOOK_AGAIN_WHILE_PODS_WAIT_SECONDS if standing.token_refusals else None
            return asked.within(look).within(self.children.retries.seconds(name, standing.refusals))
        if standing.idle and not seen.pods:
            # A thousand resources without a pod need no memory: the cached checkpoint says all of it.
            del self._standings[name]
        return asked

    def forget(self, name: Name) -> Again:
        """The resource is gone; the garbage collector sees to its children."""
        standing = self._standings.pop(name, None)
        if standing is not None:
            standing.drop()
        self.children.forget(name)
        self.metrics.forget(name)
        return Again(gone=True)

    def forget_all(self) -> None:
        """This replica acts no longer: what it knows may soon be old."""
        for name in list(self._standings):
            self.forget(name)
        self.metrics.forget_all()

    async def _standing(self, name: Name, resource: SpeculativeDeployment, seen: Seen) -> Standing:
        known = self._standings.get(name)
        if known is not None and known.uid == resource.metadata.uid:
            return known
        if known is not None:
            self.forget(name)
        checkpoint, unreadable = self.records.stored(resource, seen)
        if unreadable is not None and seen.resource is not None:
            await self.statuses.tell(seen.resource, [announcements.checkpoint_unreadable(unreadable)])
        self._standings[name] = Standing(resource.metadata.uid, checkpoint)
        return self._standings[name]

    async def _accept(self, resource: SpeculativeDeployment, standing: Standing, seen: Seen) -> list[Event]:
        """Settle what is to be in force and store it; nothing has acted on it before. Returns what to tell of it."""
        before = standing.checkpoint
        frozen = resource.spec.paused and before.accepted is not None
        made = any(child["kind"] == "Deployment" for child in seen.children)
        followed = before if frozen else amended(before, resource, self.now(), pods_made=made)
        outcome = self.tuner.tick(resource, standing, seen, followed) if followed is before else None
        after = _pinned(resource, outcome.checkpoint if outcome else followed)
        standing.refusals = await self.records.store(resource, seen, after)
        if standing.refusals:
            return []
        standing.checkpoint = after
        self.metrics.judged(Name(resource.namespace, resource.name), before, after)
        if outcome is not None:
            self.tuner.keep(resource, standing, outcome)
        elif followed is not before:
            standing.tuner = None
        answer = outcome.answer if outcome else None
        return [*announcements.steps(resource, before, after, answer), *self._alarms(standing, answer)]

    def _alarms(self, standing: Standing, answer: tuning.Decision | tuning.Hold | None) -> list[Event]:
        """A warning that holds is told again only after a while, though its figures change with every tick."""
        event = announcements.alarm(answer, standing.checkpoint.accepted)
        if event is None or self.now() - standing.alarmed.get(event.reason, -math.inf) < ALARM_AGAIN_SECONDS:
            return []
        standing.alarmed[event.reason] = self.now()
        return [event]

    async def _apply(self, resource: SpeculativeDeployment, standing: Standing, seen: Seen) -> list[Event]:
        assert standing.checkpoint.accepted is not None
        wanted = desired.manifests(resource, standing.checkpoint.accepted)
        found = difference([manifest for manifest in wanted if not _unwatched(manifest)], seen.children)
        if any(write.manifest.kind == "Deployment" and write.live is None for write in found.writes):
            await self.tokens.ensure(resource, standing)
        refused = await self.children.write(found)
        standing.refusals = refused + await self._apply_unwatched(resource, standing, wanted)
        made = [write for write in found.writes if write.live is None]
        return [announcements.children_made(len(made))] if made and not standing.refusals else []

    async def _apply_unwatched(
        self, resource: SpeculativeDeployment, standing: Standing, wanted: Sequence[Manifest]
    ) -> tuple[Refusal, ...]:
        """Children that no watch shows: the checkpoint remembers what was written of them."""
        manifests = {manifest.kind: manifest for manifest in wanted if _unwatched(manifest)}
        digests = {kind: _digest(manifest) for kind, manifest in manifests.items()}
        written = standing.checkpoint.unwatched
        if digests == written:
            return ()
        late = [manifest for kind, manifest in manifests.items() if digests[kind] != written.get(kind)]
        refused = await self.children.write(Difference(tuple(Write(m, "desired otherwise") for m in late), ()))
        for kind in written.keys() - digests.keys():
            await self.children.remove(kind, Name(resource.namespace, names.pod_monitor(resource.name)))
        if not refused:
            checkpoint = replace(standing.checkpoint, unwatched=digests)
            now = self.cache.seen(Name(resource.namespace, resource.name))
            refused = await self.records.store(resource, now, checkpoint)
        if not refused:
            standing.checkpoint = checkpoint
        return refused


def _pinned(resource: SpeculativeDeployment, checkpoint: Checkpoint) -> Checkpoint:
    assert checkpoint.accepted is not None
    accepted = desired.pin(resource, checkpoint.accepted)
    return checkpoint if accepted == checkpoint.accepted else replace(checkpoint, accepted=accepted)


def _unwatched(manifest: Manifest) -> bool:
    return BY_NAME[manifest.kind] in UNWATCHED


def _digest(manifest: Manifest) -> str:
    return str(manifest.body["metadata"]["annotations"][names.ANNOTATION_DIGEST])
