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
    """One engine through all phases of a round: the unit that is run, kept and resumed.

    arms: Auto alone, or all constants, which take turns on one engine.
    """

    round: int
    arms: tuple[str, ...]

    @property
    def name(self) -> str:
        return AUTO if self.arms == (AUTO,) else "constants"


@dataclass(frozen=True, slots=True)
class Settings:
    """arms: "auto" or a K as text. phase_seconds: of Auto, and of all constants together."""

    phases: tuple[Phase, ...] = SEQUENCE
    arms: tuple[str, ...] = (AUTO, *(str(k) for k in range(1, MAX_K + 1)))
    rounds: int = 2
    phase_seconds: float = 180.0

    @property
    def constants(self) -> tuple[str, ...]:
        return tuple(arm for arm in self.arms if arm != AUTO)

    def turn_seconds(self, block: Block) -> float:
        """How long one arm of `block` has the engine within a phase."""
        return self.phase_seconds / len(block.arms)

    def turns(self, block: Block, index: int) -> tuple[str, ...]:
        """The arms of `block` in the order of phase `index`, backwards in every other one."""
        return block.arms if (index + block.round) % 2 == 0 else block.arms[::-1]

    def blocks(self) -> Iterator[Block]:
        """Round by round, every other one backwards, so that a slow drift of the machine hits all arms alike."""
        groups = [arms for arms in ((AUTO,) if AUTO in self.arms else (), self.constants) if arms]
        for number in range(self.rounds):
            for arms in groups if number % 2 == 0 else groups[::-1]:
                yield Block(number, arms)


FULL: Final = Settings()


@dataclass(frozen=True, slots=True)
class PhaseResult:
    """One arm in one phase.

    tokens_per_second: over its turn; settled: for Auto without the first 30 s (or third). index: of the phase in its
    sequence. phase_seconds: its length over all arms of the block. ks: (seconds since the turn began, mean K in force)
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
