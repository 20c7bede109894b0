"""Arms put in force at the live endpoint of each engine (docs/engine-contract.md)."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Final, Self, TypeVar

from loadtests.arms import Arm, ArmError
from loadtests.failures import GO_ON
from loadtests.keepsake import Keepsake
from specdec.api.schedule import Schedule, Tier
from specdec.engine.errors import EngineError
from specdec.engine.live import LiveClient
from specdec.engine.patience import Patience
from specdec.engine.speculation import ScheduleInForce, Speculation
from specdec.engine.target import Target as Engine

TOLD: Final = Patience(functools.partial(print, flush=True))

Found = TypeVar("Found")


class LiveEngines:
    """Every engine gets the arm's schedule; at the end each gets back the one that it had.

    before: those, by URL of the engine; empty until entered. patience: with an engine that stands still to compile.
    """

    def __init__(
        self,
        urls: tuple[str, ...],
        control_token: str | None,
        api_key: str | None = None,
        keepsake: Keepsake | None = None,
        patience: Patience = TOLD,
    ) -> None:
        self._engines = [Engine(url, "", url.rstrip("/"), control_token, api_key) for url in urls]
        self._keepsake = keepsake or Keepsake()
        self._patience = patience
        self.before: dict[str, Schedule] = {}
        self._put_last: dict[str, ScheduleInForce] = {}

    def __enter__(self) -> Self:
        now = self.schedules()
        self.before = {
            url: _schedule(self._keepsake.take(url, lambda schedule=schedule: _entries(schedule)))  # type: ignore[misc]
            for url, schedule in now.items()
        }
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raises ArmError, with what went wrong before: nobody would be told of it otherwise."""
        try:
            self.put_each(self.before)
        except ArmError as failure:
            first = f"{error}\n       And then: " if isinstance(error, Exception) else ""
            raise ArmError(f"{first}{failure}; it then puts back what was in force before, too") from failure
        for url in self.before:
            self._keepsake.drop(url)

    def apply(self, arm: Arm) -> None:
        self._put_last = self._each(lambda client, engine: _put(client, engine, arm.schedule))

    def confirm(self, arm: Arm) -> None:
        """By revision: an engine that restarted may have come back with the arm's very schedule."""
        now = self._each(_known)
        if changed := [url for url, put in self._put_last.items() if now[url].schedule.revision != put.revision]:
            raise ArmError(
                f"{', '.join(changed)} no longer has the schedule of {arm.name}: it restarted, or somebody else tunes "
                "it. Under the operator add --resource NAME, so that it is paused meanwhile; then run the same command"
            )

    def schedules(self) -> dict[str, Schedule]:
        """What is in force, by URL of the engine. Raises ArmError."""
        return {url: known.schedule.schedule(known.limits.max_batch) for url, known in self._each(_known).items()}

    def put_each(self, wanted: Mapping[str, Schedule]) -> None:
        """A schedule of its own for each engine; those that are not named keep theirs. Raises ArmError."""

        async def put(client: LiveClient, engine: Engine) -> None:
            if (schedule := wanted.get(engine.url)) is not None:
                await _put(client, engine, lambda _: schedule)

        self._each(put)

    def _each(self, act: Callable[[LiveClient, Engine], Awaitable[Found]]) -> dict[str, Found]:
        return asyncio.run(self._all(act))

    async def _all(self, act: Callable[[LiveClient, Engine], Awaitable[Found]]) -> dict[str, Found]:
        """Every engine is attempted, whatever becomes of the others: none of them may miss its put-back."""
        async with LiveClient() as client:
            asked = (self._patience.answer(functools.partial(act, client, engine)) for engine in self._engines)
            found = await asyncio.gather(*asked, return_exceptions=True)
        return {engine.url: one for engine, one in zip(self._engines, _answers(found), strict=True)}


def _answers(found: Sequence[Found | BaseException]) -> list[Found]:
    """Raises what is no matter of an engine as it is, else ArmError with all that failed."""
    failures = [outcome for outcome in found if isinstance(outcome, BaseException)]
    for failure in failures:
        if not isinstance(failure, EngineError):
            raise failure
    if failures:
        said = "; ".join(map(str, failures))
        raise ArmError(f"cannot switch an engine live: {said}\n       {GO_ON}") from failures[0]
    return [outcome for outcome in found if not isinstance(outcome, BaseException)]


async def _known(client: LiveClient, engine: Engine) -> Speculation:
    return await client.get(engine)


async def _put(client: LiveClient, engine: Engine, schedule: Callable[[int], Schedule]) -> ScheduleInForce:
    """Safe to repeat as a whole: it asks anew which revision is in force, also after a PUT whose answer was lost."""
    known = await client.get(engine)
    revision, size = known.schedule.revision, known.limits.max_batch
    return await client.put(engine, schedule(size), revision=revision + 1, if_revision=revision)


def _entries(schedule: Schedule) -> list[list[int]]:
    return [[t.from_batch, t.to_batch, t.num_speculative_tokens] for t in schedule.tiers]


def _schedule(entries: list[list[int]]) -> Schedule:
    return Schedule(tuple(Tier(*entry) for entry in entries))
