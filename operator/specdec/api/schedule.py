"""A schedule: which K the engine uses at which batch size. The currency between tuner, engine, manifests and status."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

OFF_K: Final = 0


class ScheduleError(ValueError):
    """A schedule with a gap, an overlap, an empty tier or a K below zero."""


@dataclass(frozen=True, slots=True)
class Tier:
    """K for the batch sizes from `from_batch` to `to_batch`, both inclusive, in requests."""

    from_batch: int
    to_batch: int
    num_speculative_tokens: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """Tiers that cover batch sizes 1 to `max_batch` without gap or overlap, adjacent tiers differing in K.

    A schedule whose only tier has K = 0 is the off switch; K = 0 cannot be mixed with other K.
    """

    tiers: tuple[Tier, ...]

    def __post_init__(self) -> None:
        expected = 1
        for tier in self.tiers:
            if tier.from_batch != expected or tier.to_batch < tier.from_batch:
                raise ScheduleError(f"tier {tier} does not continue at batch {expected}")
            if tier.num_speculative_tokens < OFF_K:
                raise ScheduleError(f"tier {tier} has a K below 0")
            expected = tier.to_batch + 1
        if not self.tiers:
            raise ScheduleError("a schedule needs at least one tier")
        if len(self.tiers) > 1 and any(t.num_speculative_tokens == OFF_K for t in self.tiers):
            raise ScheduleError("K = 0 is the off switch and cannot be one tier of several")

    @property
    def max_batch(self) -> int:
        return self.tiers[-1].to_batch

    @property
    def off(self) -> bool:
        return self.tiers[0].num_speculative_tokens == OFF_K

    @property
    def ks(self) -> tuple[int, ...]:
        """Distinct K, ascending."""
        return tuple(sorted({tier.num_speculative_tokens for tier in self.tiers}))

    def k_at(self, batch: int) -> int:
        """K at `batch` requests; the last tier also answers for larger batches."""
        return next(
            (t.num_speculative_tokens for t in self.tiers if batch <= t.to_batch), self.tiers[-1].num_speculative_tokens
        )

    def table(self) -> tuple[int, ...]:
        """Shape (max_batch,): K at batch 1, 2, ..., max_batch."""
        return tuple(t.num_speculative_tokens for t in self.tiers for _ in range(t.from_batch, t.to_batch + 1))


def constant(k: int, max_batch: int) -> Schedule:
    """The same K at every batch size."""
    return Schedule((Tier(1, max_batch, k),))


def from_table(table: Sequence[int]) -> Schedule:
    """Inverse of `Schedule.table`: adjacent equal K become one tier."""
    return Schedule(tuple(_runs(table)))


def _runs(table: Sequence[int]) -> Iterable[Tier]:
    start = 1
    for k, run in groupby(table):
        length = sum(1 for _ in run)
        yield Tier(start, start + length - 1, k)
        start += length
