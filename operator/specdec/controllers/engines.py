"""One round of talk with a resource's engines: read what they counted and can do, tell them what is to be in force."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from specdec.api.schedule import Schedule, ScheduleError, from_table
from specdec.engine.errors import EngineError, LiveSwitchingUnavailable, RevisionConflict
from specdec.engine.live import LiveClient
from specdec.engine.scrape import ScrapeFailure, Scraper
from specdec.engine.speculation import Speculation
from specdec.engine.target import Target
from specdec.tuning.samples import Sample


@dataclass(frozen=True, slots=True)
class Known:
    """What one engine process says of itself. speculation: None for an engine without the live endpoint."""

    speculation: Speculation | None

    @property
    def live(self) -> bool:
        """Whether K can be changed while it runs."""
        capability = self.speculation and self.speculation.capability("LiveSwitching")
        return bool(capability and capability.status)

    @property
    def revision(self) -> int | None:
        return self.speculation.schedule.revision if self.speculation else None

    def follows(self, schedule: Schedule) -> bool:
        """Whether the engine already uses `schedule`."""
        if self.speculation is None:
            return False
        size = self.speculation.limits.max_batch
        try:
            return self.speculation.schedule.schedule(size) == fitted(schedule, size)
        except ScheduleError:
            return False


@dataclass(frozen=True, slots=True)
class Round:
    """The answers of one round. at: seconds since the epoch when it began.

    known: by incarnation. unreachable: why an engine's live endpoint could not be asked, by pod.
    """

    at: float
    asked: int
    samples: tuple[Sample, ...] = ()
    failures: tuple[ScrapeFailure, ...] = ()
    known: Mapping[str, Known] = field(default_factory=dict)
    unreachable: Mapping[str, EngineError] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Told:
    """Outcome of telling one engine. known: what it said afterwards; error: why it was not told."""

    target: Target
    known: Known | None = None
    error: EngineError | None = None


@dataclass(frozen=True, slots=True)
class Engines:
    """Both clients towards the engines."""

    scraper: Scraper
    live: LiveClient

    async def round(self, targets: Sequence[Target], known: Mapping[str, Known], at: float) -> Round:
        """Scrape all `targets`; ask those that are not in `known` what they can do."""
        new = [target for target in targets if target.incarnation not in known and target.control_token]
        answers, introductions = await asyncio.gather(
            self.scraper.scrape(targets), asyncio.gather(*(self._ask(target) for target in new))
        )
        kept = {t.incarnation: known[t.incarnation] for t in targets if t.incarnation in known}
        met = {t.incarnation: answer for t, answer in zip(new, introductions, strict=True) if isinstance(answer, Known)}
        return Round(
            at=at,
            asked=len(targets),
            samples=tuple(answer for answer in answers if isinstance(answer, Sample)),
            failures=tuple(answer for answer in answers if isinstance(answer, ScrapeFailure)),
            known=kept | met,
            unreachable={answer.pod: answer for answer in introductions if isinstance(answer, EngineError)},
        )

    async def tell(
        self, targets: Sequence[Target], known: Mapping[str, Known], wanted: Schedule, revision: int
    ) -> list[Told]:
        """Put `wanted` in force as `revision` on each of `targets`, all of which are in `known`."""
        return await asyncio.gather(*(self._tell(t, known[t.incarnation], wanted, revision) for t in targets))

    async def _ask(self, target: Target) -> Known | EngineError:
        try:
            return Known(await self.live.get(target))
        except LiveSwitchingUnavailable:
            return Known(None)
        except EngineError as error:
            return error

    async def _tell(self, target: Target, known: Known, wanted: Schedule, revision: int) -> Told:
        assert known.speculation is not None
        try:
            schedule = fitted(wanted, known.speculation.limits.max_batch)
            in_force = await self.live.put(target, schedule, revision=revision)
        except RevisionConflict as error:
            # It knows a later revision than ours; who asks next sees which.
            answer = await self._ask(target)
            return Told(target, answer if isinstance(answer, Known) else None, error)
        except EngineError as error:
            return Told(target, error=error)
        return Told(target, Known(known.speculation.model_copy(update={"schedule": in_force})))


def behind(
    targets: Sequence[Target], known: Mapping[str, Known], wanted: Schedule, revision: int, *, paused: bool = False
) -> list[Target]:
    """The engines that can be told and do not yet follow.

    paused: only those that have just started; the others keep what somebody may have put in force meanwhile.
    """
    return [
        target
        for target in targets
        if (engine := known.get(target.incarnation)) is not None
        and engine.live
        and engine.revision != revision
        and not (paused and engine.revision != 0)
        and not (engine.revision == 0 and engine.follows(wanted))
    ]


def fitted(schedule: Schedule, max_batch: int) -> Schedule:
    """`schedule` for an engine whose batches end at `max_batch`: cut off there, or its last K carried on."""
    return from_table([schedule.k_at(batch) for batch in range(1, max_batch + 1)])


def refreshed(known: Mapping[str, Known], samples: Sequence[Sample]) -> dict[str, Known]:
    """`known` without engines whose revision on the metrics page is not the one they are known to have.

    They were told by someone else or began anew within the same container; the next round asks them again.
    """
    shown = {sample.incarnation: sample.schedule_revision for sample in samples}
    return {
        incarnation: engine
        for incarnation, engine in known.items()
        if shown.get(incarnation) is None or engine.revision is None or shown[incarnation] == engine.revision
    }


def with_told(known: Mapping[str, Known], told: Sequence[Told]) -> dict[str, Known]:
    """`known` after `told`."""
    return {**known, **{answer.target.incarnation: answer.known for answer in told if answer.known is not None}}
