"""What happens to the engine, and who sets K meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tests.engine.servers import HIGH_ACCEPTANCE, LOW_ACCEPTANCE

AUTO: Final = "auto"
MAX_K: Final = 7
MAX_NUM_SEQS: Final = 32
SETTLING_SECONDS: Final = 30.0
OUTPUT_TOKENS: Final = 96


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
class Block:
    """One arm in one round, through all phases: the unit that is run, kept and resumed."""

    round: int
    arm: str


@dataclass(frozen=True, slots=True)
class Settings:
    """arms: "auto" or a K as text."""

    phases: tuple[Phase, ...] = SEQUENCE
    arms: tuple[str, ...] = (*(str(k) for k in range(1, MAX_K + 1)), AUTO)
    rounds: int = 2
    phase_seconds: float = 180.0

    @property
    def block_seconds(self) -> float:
        """How long a block takes, the engine's start left out."""
        return len(self.phases) * self.phase_seconds

    def blocks(self) -> Iterator[Block]:
        """Round by round, every other one backwards, so that a slow drift of the machine hits all arms alike."""
        for number in range(self.rounds):
            for arm in self.arms if number % 2 == 0 else self.arms[::-1]:
                yield Block(number, arm)


FULL: Final = Settings()


@dataclass(frozen=True, slots=True)
class PhaseResult:
    """One arm in one phase. tokens_per_second: over all of it; settled: without its first 30 s (or third).

    index: of the phase in its sequence. phase_seconds: its length. ks: (seconds since the phase began, mean K in force)
    every few seconds.
    """

    round: int
    arm: str
    index: int
    phase: str
    phase_seconds: float
    tokens_per_second: float
    settled_tokens_per_second: float
    failures: int
    ks: tuple[tuple[float, float], ...]
