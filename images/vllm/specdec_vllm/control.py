"""The schedule in force, on the engine's side: what answers a GET and takes a PUT, between two engine steps.

Lives in the process of the engine core and is only called from its loop, so nothing here is locked.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any, Final

from specdec_vllm.counters import CounterFile
from specdec_vllm.schedule import Refusal, Schedule, change, unavailable

API_VERSION: Final = "speculation.specdec.dev/v1"


@dataclass(frozen=True)
class Limits:
    """max_batch: requests that one step can schedule; graph_capture_tokens: None without CUDA graphs."""

    min_num_speculative_tokens: int
    max_num_speculative_tokens: int
    max_batch: int
    max_num_batched_tokens: int
    graph_capture_tokens: int | None


@dataclass(frozen=True)
class Capability:
    name: str
    status: bool
    reason: str
    message: str = ""


@dataclass(frozen=True)
class Advice:
    """Something at odds with good service; the message names the remedy."""

    reason: str
    message: str


@dataclass(frozen=True)
class Engine:
    """What does not change while the engine runs. start_k: K_max, 0 without speculation."""

    name: str
    version: str
    plugin: str
    method: str
    start_k: int
    limits: Limits
    capabilities: tuple[Capability, ...]
    warnings: tuple[Advice, ...] = ()

    def capability(self, name: str) -> Capability:
        return next(c for c in self.capabilities if c.name == name)


class SpeculationControl:
    """Owns the schedule of one scheduler.

    apply: makes a lookup (K by batch size, index 0 unused) the one in force, in one assignment.
    counters: told of each change; None where there are none. now: Unix time in seconds. monotonic: the machine's clock,
    the same in every process.
    """

    def __init__(
        self,
        engine: Engine,
        schedule: Schedule,
        apply: Callable[[list[int]], None],
        counters: CounterFile | None,
        *,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine, self._schedule, self._apply, self._counters, self._now = engine, schedule, apply, counters, now
        self._monotonic = monotonic
        self._revision, self._changed_at = 0, now()

    def describe(self) -> dict[str, Any]:
        """The answer to GET /v1/speculation."""
        engine = self._engine
        return {
            "apiVersion": API_VERSION,
            "engine": {"name": engine.name, "version": engine.version, "plugin": engine.plugin},
            "method": engine.method,
            "startNumSpeculativeTokens": engine.start_k,
            "limits": _camel(asdict(engine.limits)),
            "schedule": self.schedule(),
            "capabilities": [asdict(c) for c in engine.capabilities],
            "warnings": [asdict(w) for w in engine.warnings],
        }

    def schedule(self) -> dict[str, Any]:
        return {
            "revision": self._revision,
            "off": self._schedule.off,
            "entries": self._schedule.entries(),
            "changedAt": datetime.fromtimestamp(self._changed_at, timezone.utc).isoformat().replace("+00:00", "Z"),
        }

    def put(self, request: object, expires: float) -> dict[str, Any]:
        """Put the schedule of `request` (decoded JSON) in force; the answer is the schedule. Raises Refusal.

        expires: time on `monotonic` after which nobody waits for the answer, so that nothing may change.
        """
        if self._monotonic() > expires:
            raise unavailable("the engine loop came to it too late; nothing was changed, try again")
        live = self._engine.capability("LiveSwitching")
        if not live.status:
            raise Refusal(501, "LiveSwitchingUnavailable", live.message)
        wanted = change(request, start_k=self._engine.start_k, max_batch=self._engine.limits.max_batch)
        if wanted.revision == self._revision and wanted.schedule == self._schedule:
            return self.schedule()
        if wanted.revision <= self._revision:
            raise self._conflict(
                f"revision {wanted.revision} is not above {self._revision}, the one in force", "revision"
            )
        if wanted.if_revision is not None and wanted.if_revision != self._revision:
            raise self._conflict(f"revision {self._revision} is in force, not {wanted.if_revision}", "ifRevision")
        self._accept(wanted.revision, wanted.schedule)
        return self.schedule()

    def _accept(self, revision: int, schedule: Schedule) -> None:
        self._apply(schedule.lookup())
        self._revision, self._schedule, self._changed_at = revision, schedule, self._now()
        if self._counters is not None:
            self._counters.schedule_changed(revision, self._changed_at)

    def _conflict(self, message: str, field: str) -> Refusal:
        return Refusal(409, "RevisionConflict", f"{message}; read the schedule again and decide anew", field)


def _camel(fields: dict[str, Any]) -> dict[str, Any]:
    def name(snake: str) -> str:
        head, *tail = snake.split("_")
        return head + "".join(word.capitalize() for word in tail)

    return {name(key): value for key, value in fields.items()}
