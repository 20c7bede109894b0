"""What happens to the engine, and who sets K meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.engine.servers import HIGH_ACCEPTANCE, LOW_ACCEPTANCE

AUTO: Final = "auto"
MAX_K: Final = 7
MAX_NUM_SEQS: Final = 32
SETTLING_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Phase:
    """`concurrency` requests under way at any time, drafts accepted at `rates` per position."""

    name: str
    rates: tuple[float, ...]
    concurrency: int


HIGH_1: Final = Phase("high/1", HIGH_ACCEPTANCE, 1)
HIGH_16: Final = Phase("high/16", HIGH_ACCEPTANCE, 16)
LOW_16: Final = Phase("low/16", LOW_ACCEPTANCE, 16)
LOW_1: Final = Phase("low/1", LOW_ACCEPTANCE, 1)
SEQUENCE: Final = (HIGH_1, HIGH_16, LOW_16, LOW_1, HIGH_1)


@dataclass(frozen=True, slots=True)
class Settings:
    """arms: "auto" or a K as text. scrape_seconds: how often the tuner sees the engine."""

    phases: tuple[Phase, ...] = SEQUENCE
    arms: tuple[str, ...] = (*(str(k) for k in range(1, MAX_K + 1)), AUTO)
    rounds: int = 2
    phase_seconds: float = 180.0
    scrape_seconds: float = 5.0

    @property
    def seconds(self) -> float:
        """How long all of it takes, starts left out."""
        return self.rounds * len(self.arms) * len(self.phases) * self.phase_seconds

    def order(self, round_: int) -> tuple[str, ...]:
        """Arms of a round, every other round backwards, so that a slow drift of the machine hits all alike."""
        return self.arms if round_ % 2 == 0 else self.arms[::-1]


@dataclass(frozen=True, slots=True)
class PhaseResult:
    """One arm in one phase. tokens_per_second: over all of it; settled: without its first 30 s (or third).

    ks: (seconds since the phase began, mean K in force) every few seconds.
    """

    round: int
    arm: str
    index: int
    phase: str
    tokens_per_second: float
    settled_tokens_per_second: float
    failures: int
    ks: tuple[tuple[float, float], ...]
