"""An event loop whose clock jumps to the next timer as soon as nothing else is to be done: hours pass in no time.

Only for code that waits for nothing but time: with a socket open, the clock would run ahead of the other side.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class _Impatient(selectors.DefaultSelector):
    """Notes how long it was to wait, and does not."""

    skipped: float = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            found: list[tuple[selectors.SelectorKey, int]] = super().select(0 if timeout is None else timeout)
            return found
        self.skipped += timeout
        return []


class FakeTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._impatient = _Impatient()
        super().__init__(self._impatient)

    def time(self) -> float:
        return self._impatient.skipped


def in_no_time(work: Coroutine[Any, Any, Result]) -> Result:
    """Run `work` to its end on a loop with a fake clock that starts at 0."""
    loop = FakeTimeLoop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()
