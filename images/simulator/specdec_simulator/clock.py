"""Drives an engine in real time on an absolute clock.

A step ends when its plan says so, not a sleep after the work of the step before: the next step starts at the planned
end, so the engine's own work does not stretch its steps. When the process is late by more than MAX_CATCH_UP_SECONDS the
clock gives up the lost time and says so (`slipped_seconds`); up to then it catches up (`lag_seconds`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from specdec_simulator.engine import Engine
from specdec_simulator.request import Request

MAX_CATCH_UP_SECONDS: Final = 0.25


class EngineClock:
    """One timer for all requests of `engine`. slow: factor on every step; hung: no step ends any more (test faults)."""

    def __init__(self, engine: Engine, loop: asyncio.AbstractEventLoop) -> None:
        self._engine = engine
        self._loop = loop
        self._ends = 0.0
        self._timer: asyncio.Handle | None = None
        self._between: list[Callable[[], None]] = []
        self.slow = 1.0
        self.hung = False
        self.lag_seconds = 0.0
        self.max_lag_seconds = 0.0
        self.slipped_seconds = 0.0

    def submit(self, request: Request) -> None:
        self._engine.submit(request, self._loop.time())
        self._wake()

    def between_steps(self, change: Callable[[], None]) -> None:
        """Call `change` when no step is under way: at once when idle, else when the present step ends."""
        self._between.append(change)
        self._wake()

    def withdraw(self, change: Callable[[], None]) -> bool:
        """Forget a change that has not been called yet; False when it has."""
        if change not in self._between:
            return False
        self._between.remove(change)
        return True

    def resume(self) -> None:
        """Go on after a hang; the step that hung ends now."""
        self.hung = False
        if self._timer is None and self._engine.step is not None:
            self._ends = max(self._ends, self._loop.time())
            self._timer = self._loop.call_at(self._ends, self._end)
        self._wake()

    def _wake(self) -> None:
        if self._timer is None and not self.hung:
            # Not at once: requests that arrive together start together.
            self._timer = self._loop.call_soon(self._start, None)

    def _start(self, at: float | None) -> None:
        self._timer = None
        between, self._between = self._between, []
        for change in between:
            change()
        start = self._loop.time() if at is None else at
        seconds = self._engine.begin(start)
        if seconds is not None:
            self._ends = start + seconds * self.slow
            self._timer = self._loop.call_at(self._ends, self._end)

    def _end(self) -> None:
        self._timer = None
        if self.hung:
            return
        late = max(0.0, self._loop.time() - self._ends)
        self.lag_seconds = late
        self.max_lag_seconds = max(self.max_lag_seconds, late)
        if late > MAX_CATCH_UP_SECONDS:
            self.slipped_seconds += late
            self._ends += late
        self._engine.finish(self._ends)
        self._start(self._ends)
