"""The clock is absolute: work does not stretch steps, and what cannot be caught up is given up and told."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from typing import Any

import pytest

from specdec_simulator.clock import MAX_CATCH_UP_SECONDS, EngineClock
from tests.unit.simulator.builders import engine, request


class FakeLoop:
    """The three methods of an event loop that the clock uses. work: seconds that each callback takes."""

    def __init__(self, work: float = 0.0) -> None:
        self.now, self.work = 0.0, work
        self._queue: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._number = 0

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[..., None], *arguments: Any) -> asyncio.Handle:
        self._number += 1
        heapq.heappush(self._queue, (when, self._number, callback, arguments))
        return asyncio.Handle(callback, arguments, self)  # type: ignore[arg-type]

    def call_soon(self, callback: Callable[..., None], *arguments: Any) -> asyncio.Handle:
        return self.call_at(self.now, callback, *arguments)

    def get_debug(self) -> bool:
        return False

    def run(self, until: float = float("inf")) -> None:
        while self._queue and self._queue[0][0] <= until:
            when, _, callback, arguments = heapq.heappop(self._queue)
            self.now = max(self.now, when)
            callback(*arguments)
            self.now += self.work


def started(work: float = 0.0, *, output: int = 400, count: int = 1) -> tuple[EngineClock, FakeLoop, list[Any]]:
    loop, one = FakeLoop(work), engine()
    clock = EngineClock(one, loop)  # type: ignore[arg-type]
    memories = []
    for number in range(count):
        made, memory = request(output=output, key=str(number))
        clock.submit(made)
        memories.append(memory)
    return clock, loop, [one, *memories]


def test_work_between_steps_does_not_stretch_them() -> None:
    idle, busy = started(0.0), started(0.005)
    for _, loop, _ in (idle, busy):
        loop.run()
    assert idle[2][0].counters.busy_seconds == busy[2][0].counters.busy_seconds
    assert busy[0].slipped_seconds == 0
    assert busy[0].max_lag_seconds <= 0.005


def test_a_process_that_is_too_slow_says_how_much_time_it_gave_up() -> None:
    clock, loop, (one, memory) = started(0.05)
    loop.run()
    assert memory.total == 400
    assert clock.slipped_seconds > 1
    # The engine's time and the time on the wall differ by what is still to be caught up.
    assert loop.now == pytest.approx(one.counters.busy_seconds, abs=MAX_CATCH_UP_SECONDS + 0.2)


def test_requests_that_arrive_together_start_together() -> None:
    _, loop, (one, *_memories) = started(count=6, output=1)
    loop.run()
    assert [key[1] for key in one.counters.cells] == [3]


def test_a_change_waits_for_the_end_of_the_step() -> None:
    clock, loop, (one, _) = started()
    loop.run(until=0.001)
    changed: list[float] = []
    clock.between_steps(lambda: changed.append(loop.now))
    assert (changed, one.step is not None) == ([], True)
    loop.run(until=0.05)
    assert changed == [pytest.approx(0.0, abs=0.04)]
    assert changed[0] > 0.001


def test_an_idle_engine_changes_at_once() -> None:
    loop = FakeLoop()
    clock = EngineClock(engine(), loop)  # type: ignore[arg-type]
    changed: list[float] = []
    clock.between_steps(lambda: changed.append(loop.now))
    loop.run()
    assert changed == [0.0]


def test_a_withdrawn_change_never_happens() -> None:
    clock, loop, _ = started()
    loop.run(until=0.001)
    changed: list[int] = []

    def change() -> None:
        changed.append(1)

    clock.between_steps(change)
    assert clock.withdraw(change)
    loop.run()
    assert changed == []
    assert not clock.withdraw(change)


def test_a_hang_stops_everything_and_ends_where_it_began() -> None:
    clock, loop, (_, memory) = started()
    loop.run(until=0.1)
    clock.hung = True
    loop.run(until=5.0)
    before = memory.total
    loop.now = 5.0
    clock.resume()
    loop.run()
    assert 0 < before < memory.total == 400


def test_slow_stretches_steps() -> None:
    usual, slow = started(), started()
    slow[0].slow = 3.0
    for _, loop, _ in (usual, slow):
        loop.run()
    assert slow[1].now == pytest.approx(3 * usual[1].now)
