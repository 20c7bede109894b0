"""Ask an engine again that is busy: while it compiles a kernel its loop stands still for seconds and answers nobody."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from specdec.backoff import pause_seconds
from specdec.engine.errors import EngineError, EngineUnavailable, EngineUnreachable

FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 10.0
LONGEST_WAIT_SECONDS: Final = 120.0

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Patience:
    """waiting: told once per wait what for. chance: uniform in [0, 1), the jitter."""

    waiting: Callable[[str], None]
    chance: Callable[[], float] = random.random

    async def answer(self, ask: Callable[[], Awaitable[Answer]], *, until: float = math.inf) -> Answer:
        """What `ask` answers, asked again while the engine is busy, for LONGEST_WAIT_SECONDS; `ask` is safe to repeat.

        until: loop time after which it is not asked again, if that comes first. Raises the last error of `ask`.
        """
        until = min(until, _clock() + LONGEST_WAIT_SECONDS)
        failures = 0
        while True:
            try:
                return await ask()
            except EngineError as error:
                left = until - _clock()
                if not _busy(error) or left <= 0:
                    raise
                if not failures:
                    self.waiting(f"waiting for the engine, {left:.0f} s at most: {error}")
            failures += 1
            pause = pause_seconds(failures, self.chance(), first=FIRST_PAUSE_SECONDS, longest=LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(min(pause, left))


def _busy(error: EngineError) -> bool:
    return isinstance(error, EngineUnavailable) or (isinstance(error, EngineUnreachable) and error.timed_out)


def _clock() -> float:
    return asyncio.get_running_loop().time()
