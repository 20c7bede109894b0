"""One loop per resource: woken by what changed, or by time; never in anybody's way.

A loop holds a slot only while it works, so a thousand resources share a bounded number of concurrent passes. A pass
that fails is tried again after a growing, jittered pause; other resources do not notice.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from specdec.backoff import pause_seconds
from specdec.kube.errors import KubeError, NotLeading, Unavailable
from specdec.kube.kinds import Name

log = structlog.get_logger(__name__)

SLOTS: Final = 16
FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 120.0
# The time in which a late renewal of the lease succeeds or is given up.
RENEWAL_PAUSE_SECONDS: Final = 4.0
# A change counts again this soon after a failure: what failed may be what the user just repaired.
DEAF_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Again:
    """When to look again without being woken; None: only when woken. gone: the resource needs no loop any more."""

    seconds: float | None = None
    gone: bool = False

    def within(self, seconds: float | None) -> Again:
        """The same, but at the latest in `seconds`."""
        both = [each for each in (self.seconds, seconds) if each is not None]
        return replace(self, seconds=min(both, default=None))


Work = Callable[[Name], Awaitable[Again]]


@dataclass(slots=True)
class Loops:
    """Runs `work` for each woken resource, one pass at a time per resource, while started.

    failed: told of each failed pass. chance: uniform in [0, 1), the jitter.
    """

    work: Work
    failed: Callable[[Name, Exception], None] = lambda _name, _error: None
    chance: Callable[[], float] = random.random
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(SLOTS))
    _woken: dict[Name, asyncio.Event] = field(default_factory=dict)
    _tasks: dict[Name, asyncio.Task[None]] = field(default_factory=dict)
    _started: bool = False

    def wake(self, name: Name) -> None:
        """Something about this resource changed. Remembered while stopped."""
        self._woken.setdefault(name, asyncio.Event()).set()
        if self._started and name not in self._tasks:
            task = asyncio.get_running_loop().create_task(self._loop(name), name=f"loop {name}")
            self._tasks[name] = task
            task.add_done_callback(lambda _: self._ended(name, task))

    def start(self) -> None:
        """Begin to act, on everything that was ever woken and is not gone."""
        self._started = True
        for name in list(self._woken):
            self.wake(name)

    def stop(self) -> None:
        """Cease to act at once: passes are cut off wherever they are."""
        self._started = False
        for task in self._tasks.values():
            task.cancel()

    async def stopped(self) -> None:
        """Wait until every cut-off pass has ended."""
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    @property
    def known(self) -> int:
        """Resources that were woken and are not gone."""
        return len(self._woken)

    async def _loop(self, name: Name) -> None:
        failures = 0
        while True:
            self._woken[name].clear()
            try:
                async with self._slots:
                    again = await self.work(name)
                failures = 0
            except NotLeading:
                # Either the end of leading is about to stop this loop, or a renewal was late and all is well again.
                again = Again(RENEWAL_PAUSE_SECONDS * (0.5 + 0.5 * self.chance()))
            except Exception as error:
                failures += 1
                self._tell(name, error, failures)
                again = Again(self._pause(failures, error))
                await asyncio.sleep(min(again.seconds or 0.0, DEAF_SECONDS))
            if again.gone and not self._woken[name].is_set():
                del self._woken[name]
                return
            await self._wait(name, again)

    async def _wait(self, name: Name, again: Again) -> None:
        try:
            async with asyncio.timeout(again.seconds):
                await self._woken[name].wait()
        except TimeoutError:
            return

    def _pause(self, failures: int, error: Exception) -> float:
        pause = pause_seconds(failures, self.chance(), first=FIRST_PAUSE_SECONDS, longest=LONGEST_PAUSE_SECONDS)
        asked = error.retry_after_seconds if isinstance(error, Unavailable) else None
        return max(pause, min(asked or 0.0, LONGEST_PAUSE_SECONDS))

    def _tell(self, name: Name, error: Exception, failures: int) -> None:
        log.warning(
            "pass failed, will try again",
            resource=str(name),
            failures=failures,
            error=str(error),
            exc_info=None if isinstance(error, KubeError) else error,
        )
        self.failed(name, error)

    def _ended(self, name: Name, task: asyncio.Task[None]) -> None:
        if self._tasks.get(name) is task:
            del self._tasks[name]
        # Stopped and started again before this task had ended, or woken while it ended.
        if self._started and name in self._woken:
            self.wake(name)
