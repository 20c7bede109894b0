"""Is the generator itself on time? A beat every few milliseconds shows how late its event loop wakes."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass, field
from typing import Final

import gevent

from loadtests.records import GeneratorReport

BEAT_SECONDS: Final = 0.02


@dataclass(slots=True)
class Punctuality:
    """late_ms: a delay above it counts as late."""

    late_ms: float
    beats: int = 0
    late_beats: int = 0
    sends: int = 0
    late_sends: int = 0
    worst_ms: float = 0.0
    began: float = field(default_factory=time.perf_counter)
    cpu_began: float = field(default_factory=time.process_time)

    def beat(self) -> None:
        """Runs until killed."""
        while True:
            due = time.perf_counter() + BEAT_SECONDS
            gevent.sleep(BEAT_SECONDS)
            delay_ms = (time.perf_counter() - due) * 1e3
            self.beats += 1
            self.late_beats += delay_ms > self.late_ms
            self.worst_ms = max(self.worst_ms, delay_ms)

    def sent(self, delay_ms: float) -> None:
        """Note a request of the open loop that was sent `delay_ms` after its planned moment."""
        self.sends += 1
        self.late_sends += delay_ms > self.late_ms
        self.worst_ms = max(self.worst_ms, delay_ms)

    @property
    def late_share(self) -> float:
        return max(self.late_beats / max(self.beats, 1), self.late_sends / max(self.sends, 1))

    def report(self) -> GeneratorReport:
        return GeneratorReport(
            beats=self.beats,
            late_beats=self.late_beats,
            sends=self.sends,
            late_sends=self.late_sends,
            worst_ms=round(self.worst_ms, 3),
            cpu_seconds=round(time.process_time() - self.cpu_began, 3),
            seconds=round(time.perf_counter() - self.began, 3),
            memory_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        )
