"""Engines in memory, in the place of the client that speaks to real ones."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Final, Self

from specdec.api.schedule import Schedule
from specdec.engine.errors import EngineUnavailable, EngineUnreachable, RevisionConflict
from specdec.engine.speculation import ScheduleInForce, Speculation
from specdec.engine.target import Target
from tests.support.speculation import speculation

MAX_BATCH: Final = 16
_TURNS: Final = 10


class Engines:
    """ks, revisions: in force, by URL. gone: those that refuse a connection at once; the others take turns of the loop.

    still: until when the loop of one answers nobody, seconds of the clock. deaf: those whose next PUT takes effect, but
    the answer comes too late.
    """

    def __init__(self, *urls: str) -> None:
        self.ks = dict.fromkeys(urls, 7)
        self.revisions = dict.fromkeys(urls, 0)
        self.gone: set[str] = set()
        self.still: dict[str, float] = {}
        self.deaf: set[str] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def get(self, target: Target) -> Speculation:
        await self._reach(target)
        return speculation(_in_force(self.ks[target.url], self.revisions[target.url]), MAX_BATCH)

    async def put(
        self, target: Target, schedule: Schedule, *, revision: int, if_revision: int | None = None
    ) -> ScheduleInForce:
        await self._reach(target)
        if if_revision not in {None, self.revisions[target.url]}:
            raise RevisionConflict(target.pod, "another is in force", reason="RevisionConflict")
        self.ks[target.url], self.revisions[target.url] = schedule.k_at(1), revision
        if target.url in self.deaf:
            self.deaf.remove(target.url)
            raise _busy(target)
        return ScheduleInForce.model_validate(_in_force(self.ks[target.url], revision))

    async def _reach(self, target: Target) -> None:
        if target.url in self.gone:
            raise EngineUnreachable(target.pod, "no connection")
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        if asyncio.get_running_loop().time() < self.still.get(target.url, 0.0):
            raise _busy(target)


def _busy(target: Target) -> EngineUnavailable:
    message = "the engine loop did not answer within 4 s; try again"
    return EngineUnavailable(target.pod, message, reason="EngineUnavailable")


def _in_force(k: int, revision: int) -> dict[str, Any]:
    return {
        "revision": revision,
        "off": not k,
        "entries": [{"fromBatch": 1, "toBatch": MAX_BATCH, "numSpeculativeTokens": k}] if k else [],
    }
