"""A holder that reaches the API server no more, with fake time; tests/integration/test_lease.py has the real one."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from specdec.kube import errors
from specdec.kube.client import KubeClient
from specdec.kube.kinds import Name
from specdec.kube.lease import Election, LeaseTimes
from tests.support.clock import in_no_time

Json = dict[str, Any]
TIMES = LeaseTimes()


class Silent:
    """The requests of an election: answered until `cut`, then refused at once or, with `hangs`, never answered."""

    def __init__(self, cut: float, hangs: bool) -> None:
        self._cut, self._hangs, self._version = cut, hangs, 0
        self.answered = 0.0

    async def get(self, *_: Any) -> Json:
        raise errors.NotFound("no lease yet")

    async def create(self, body: Json, *, fenced: bool) -> Json:
        return await self.replace(body, fenced=fenced)

    async def replace(self, body: Json, *, fenced: bool) -> Json:
        now = asyncio.get_running_loop().time()
        if now >= self._cut:
            if self._hangs:
                await asyncio.Event().wait()
            raise errors.Unavailable("gone")
        self.answered = now
        self._version += 1
        return {**body, "metadata": {**body["metadata"], "resourceVersion": str(self._version)}}


@pytest.mark.parametrize("hangs", [False, True], ids=["refused", "hanging"])
@pytest.mark.parametrize("cut", [1.0, 7.0, 61.0])
def test_it_stops_before_anyone_else_may_start(cut: float, hangs: bool) -> None:
    api = Silent(cut, hangs)
    told: list[tuple[bool, float]] = []

    async def hold() -> None:
        clock = asyncio.get_running_loop().time
        client = cast("KubeClient", api)
        started, stopped = (lambda: told.append((True, clock()))), (lambda: told.append((False, clock())))
        election = Election(
            client, Name("n", "operator"), "a", started, stopped, TIMES, now=lambda: datetime(2026, 1, 1, tzinfo=UTC)
        )
        run = asyncio.create_task(election.run())
        while len(told) < 2:
            assert not run.done()
            await asyncio.sleep(0.5)
        assert not election.may_write()
        run.cancel()

    in_no_time(hold())
    (acts, _), (still, at) = told
    assert (acts, still) == (True, False)
    assert cut - TIMES.renew_seconds <= api.answered < cut
    assert at < api.answered + TIMES.duration_seconds
