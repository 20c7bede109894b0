"""The tuner of one resource, in the shell: asks the engines, hands the answers to `tick`, tells what was accepted."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from specdec import tuning
from specdec.api.names import Role
from specdec.api.resource import SpeculativeDeployment
from specdec.controllers import pods
from specdec.controllers.accepting import in_words, wanted_live
from specdec.controllers.checkpoint import Checkpoint
from specdec.controllers.engines import Engines, Round, Told, behind, refreshed, with_told
from specdec.controllers.limits import environment_of, limits_of
from specdec.controllers.loops import Again
from specdec.controllers.metrics import Metrics
from specdec.controllers.rollout import rolling
from specdec.controllers.standing import Standing
from specdec.controllers.tick import Outcome, saved, ticked
from specdec.controllers.tokens import LOOK_AGAIN_WHILE_PODS_WAIT_SECONDS, Tokens
from specdec.engine.errors import Unauthorized
from specdec.engine.target import Target
from specdec.kube.cache import Cache, Seen
from specdec.kube.kinds import Name

log = structlog.get_logger(__name__)

# What was learned since is lost with the process; a resource without traffic learns nothing and saves nothing.
SAVE_EVERY_SECONDS: Final = 600.0
# What a trial measures decides how it ends, and it lasts half a minute.
SAVE_IN_TRIAL_SECONDS: Final = 10.0
MOST_ENVIRONMENTS: Final = 32


@dataclass(slots=True)
class Tuner:
    """wake: calls the resource's loop when a round has come back. may_act: whether this replica holds the lease.

    now: seconds since the epoch. chance: uniform in [0, 1).
    learned: the last tuner of each environment, a prior for the next resource of it.
    """

    engines: Engines
    tokens: Tokens
    cache: Cache
    metrics: Metrics
    wake: Callable[[Name], None]
    may_act: Callable[[], bool]
    now: Callable[[], float] = time.time
    chance: Callable[[], float] = random.random
    learned: dict[tuning.Environment, tuning.State] = field(default_factory=dict)

    async def ask(self, resource: SpeculativeDeployment, standing: Standing, seen: Seen) -> Again:
        """Begin a round if it is time for one; when to look again."""
        serving, clock = pods.serving(seen.pods, *Role), _clock()
        pods_wait = len(serving) < len(seen.pods)
        if not serving:
            standing.seen, standing.known = Round(self.now(), asked=0), {}
            if not pods_wait:
                return Again()
            await self.tokens.ensure(resource, standing, pods_wait=True)
            return Again(LOOK_AGAIN_WHILE_PODS_WAIT_SECONDS)
        if standing.talk is None and clock >= standing.due:
            await self.tokens.ensure(resource, standing, pods_wait=pods_wait)
            targets = [pods.target(pod, standing.token, standing.api_key) for pod in serving]
            standing.due = clock + resource.spec.monitoring.scrape_interval_seconds
            self._begin(_name(resource), standing, targets)
        # A round wakes the loop when it is back.
        return Again() if standing.talk is not None else Again(standing.due - clock)

    def tick(
        self, resource: SpeculativeDeployment, standing: Standing, seen: Seen, checkpoint: Checkpoint
    ) -> Outcome | None:
        """Learn from the round that has come back, if one has, and decide; nothing is acted on or kept here."""
        if not standing.unread or standing.seen is None or checkpoint.accepted is None:
            return None
        shown = _sorted_out(standing.seen, seen)
        newest = max((sample.at for sample in shown.samples if not sample.on_trial), default=_newest(standing.tuner))
        stable = {pods.incarnation(pod) for pod in pods.serving(seen.pods)}
        standing.limits = limits_of(
            resource,
            {incarnation: known for incarnation, known in standing.known.items() if incarnation in stable},
            pods=len(stable),
            by_restart=checkpoint.accepted.switching == "Restart",
            rolling=rolling(seen.children),
            restarts=checkpoint.restarts,
            newest_sample=newest,
            now=self.now(),
        )
        outcome = ticked(
            resource,
            checkpoint,
            standing.tuner,
            shown,
            standing.limits,
            now=self.now(),
            chance=self.chance(),
            donor=self.learned.get(environment_of(resource)),
        )
        return self._with_learned(standing, outcome)

    def keep(self, resource: SpeculativeDeployment, standing: Standing, outcome: Outcome) -> None:
        """The outcome's checkpoint is stored: from here on it holds."""
        before, standing.answer = standing.answer, outcome.answer
        standing.tuner, standing.unread = outcome.tuner, False
        self._share(outcome.tuner)
        self._count(_name(resource), standing, outcome, before)

    async def tell(self, resource: SpeculativeDeployment, standing: Standing) -> None:
        """Bring every serving engine to what is accepted, looking at fresh state first."""
        accepted, name = standing.checkpoint.accepted, _name(resource)
        fresh = self.cache.seen(name)
        if accepted is None or accepted.switching != "Live":
            standing.untold = {}
            return
        if not _same(resource, fresh) or not self.may_act():
            return
        targets = [pods.target(pod, standing.token, standing.api_key) for pod in pods.serving(fresh.pods)]
        wanted = wanted_live(accepted, resource.spec.engine.max_num_seqs)
        late = behind(targets, standing.known, wanted, accepted.revision, paused=resource.spec.paused)
        if not late:
            # Who could not be told has followed since, or is gone.
            standing.untold = {}
            return
        told = await self.engines.tell(late, standing.known, wanted, accepted.revision)
        standing.known = with_told(standing.known, told)
        standing.untold = {answer.target.pod: answer.error for answer in told if answer.error is not None}
        self._tell_failures(name, standing, told)
        log.info(
            "engines told", resource=str(name), k=in_words(accepted), revision=accepted.revision, engines=len(told)
        )

    def _share(self, tuner: tuning.State) -> None:
        self.learned.pop(tuner.environment, None)
        self.learned[tuner.environment] = tuner
        if len(self.learned) > MOST_ENVIRONMENTS:
            self.learned.pop(next(iter(self.learned)))

    def _begin(self, name: Name, standing: Standing, targets: Sequence[Target]) -> None:
        async def talk() -> Round:
            return await self.engines.round(targets, standing.known, self.now())

        def back(task: asyncio.Task[Round]) -> None:
            standing.talk = None
            if task.cancelled():
                return
            if error := task.exception():
                log.error("round of scrapes failed", resource=str(name), exc_info=error)
            else:
                self._take(name, standing, task.result())
            self.wake(name)

        if standing.tuner is None:
            self.metrics.taken_up(name)
        standing.talk = asyncio.get_running_loop().create_task(talk(), name=f"round {name}")
        standing.talk.add_done_callback(back)

    def _take(self, name: Name, standing: Standing, seen: Round) -> None:
        standing.seen, standing.unread = seen, True
        standing.known = refreshed(seen.known, seen.samples)
        for failure in seen.failures:
            self.metrics.scrape_failures.labels(name.namespace, name.name, failure.reason.value).inc()
        for error in seen.unreachable.values():
            self.metrics.live_failures.labels(name.namespace, name.name, type(error).__name__).inc()
            if isinstance(error, Unauthorized):
                self.tokens.doubt(standing)

    def _with_learned(self, standing: Standing, outcome: Outcome) -> Outcome:
        """Store what was learned now and then, but only where something was."""
        clock, drafts = _clock(), outcome.tuner.seen_drafts
        standing.saved_at = standing.saved_at or clock
        every = SAVE_EVERY_SECONDS if outcome.tuner.trial is None else SAVE_IN_TRIAL_SECONDS
        if drafts <= standing.saved_drafts or clock - standing.saved_at < every:
            return outcome
        standing.saved_at, standing.saved_drafts = clock, drafts
        return Outcome(saved(outcome.checkpoint, outcome.tuner), outcome.tuner, outcome.answer)

    def _count(
        self, name: Name, standing: Standing, outcome: Outcome, before: tuning.Decision | tuning.Hold | None
    ) -> None:
        labels, answer = (name.namespace, name.name), outcome.answer
        if isinstance(answer, tuning.Decision):
            self.metrics.decisions.labels(*labels, answer.kind.value, answer.reason.value).inc()
            log.info(
                "decided", resource=str(name), kind=answer.kind.value, reason=answer.reason.value, why=answer.message
            )
        else:
            self.metrics.holds.labels(*labels, answer.reason.value).inc()
            if before is None or before.reason is not answer.reason:
                log.info("holds", resource=str(name), reason=answer.reason.value, why=answer.message)
        if (summary := standing.summary()) is not None:
            self.metrics.tuned(name, standing.checkpoint, summary)

    def _tell_failures(self, name: Name, standing: Standing, told: Sequence[Told]) -> None:
        for answer in told:
            if answer.error is None:
                continue
            self.metrics.live_failures.labels(name.namespace, name.name, type(answer.error).__name__).inc()
            log.warning("engine not told", resource=str(name), pod=answer.target.pod, error=str(answer.error))
            if isinstance(answer.error, Unauthorized):
                self.tokens.doubt(standing)


def _sorted_out(shown: Round, seen: Seen) -> Round:
    """The round with the samples of pods on trial marked as such."""
    tried = {pod["metadata"]["name"] for pod in pods.serving(seen.pods, Role.TRIAL)}
    return replace(shown, samples=tuple(replace(s, on_trial=True) if s.pod in tried else s for s in shown.samples))


def _same(resource: SpeculativeDeployment, fresh: Seen) -> bool:
    """Whether the spec on which something was decided is still the one that is stored."""
    if fresh.resource is None:
        return False
    metadata = fresh.resource["metadata"]
    return bool(
        metadata["uid"] == resource.metadata.uid
        and metadata.get("generation", 0) == resource.metadata.generation
        and not metadata.get("deletionTimestamp")
    )


def _newest(state: tuning.State | None) -> float | None:
    return state.last_at if state is not None else None


def _name(resource: SpeculativeDeployment) -> Name:
    return Name(resource.namespace, resource.name)


def _clock() -> float:
    return asyncio.get_running_loop().time()
