"""Times without tuning, each held against as long a time with it that follows, and what such pairs have shown.

A randomised switchback: the same pods serve both, when they come is drawn by lot, and equal batches are
compared. So neither a slow node nor traffic that changes with the hour can pass for a gain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import reduce
from math import expm1, inf
from typing import Final

from specdec.api.schedule import Schedule
from specdec.tuning import work
from specdec.tuning.decisions import Gain
from specdec.tuning.samples import Sample
from specdec.tuning.sequential import Running
from specdec.tuning.work import Counters, Work

ALPHA: Final = 0.10
SETTLING_SECONDS: Final = 5.0  # after a switch, until all engines were told; a quarter of a short block
LONGEST: Final = 4.0  # blocks that one side may take, as when scrapes fail
NOTHING: Final = Running()
LEAST_PAIRS: Final = 5  # before a verdict: the interval supposes that pairs are scattered normally


class Finding(StrEnum):
    """What the pairs say of tuning as a whole."""

    OPEN = "Open"
    CONFIRMED = "Confirmed"
    REFUTED = "Refuted"


@dataclass(frozen=True, slots=True)
class Pair:
    """One under way. seconds: of each side. tuned_schedule: what the untuned one is held against.
    pods: newest counters of each.
    """

    seconds: float
    tuned_schedule: Schedule
    untuned: Work = field(default_factory=dict)
    tuned: Work = field(default_factory=dict)
    pods: Mapping[str, Counters] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pairs:
    """All so far. untuned_k: the constant K that they are held against. began, last_at: when the first and the last one
    began, seconds since the epoch. lot: uniform in [0, 1), says when the next one comes. seen: log gain of each.
    refuted_at: when they showed that tuning loses.
    """

    untuned_k: int
    began: float
    last_at: float
    lot: float
    seen: Running = NOTHING
    under_way: Pair | None = None
    refuted_at: float = -inf

    def gain(self) -> Gain | None:
        """Tokens per second of one request over the untuned K's at equal batch, percent, with a 90 % interval that is
        valid at every look; None before two pairs that differ."""
        width = self.seen.half_width(ALPHA)
        if width == inf:
            return None
        low, high = self.seen.mean - width, self.seen.mean + width
        return Gain(*(100.0 * expm1(min(x, 2.0)) for x in (self.seen.mean, low, high)))

    @property
    def finding(self) -> Finding:
        """Open until the interval leaves zero."""
        gain = self.gain()
        if self.refuted_at > -inf and not self.seen.count:
            return Finding.REFUTED
        if gain is None or self.seen.count < LEAST_PAIRS:
            return Finding.OPEN
        if gain.upper_percent < 0.0:
            return Finding.REFUTED
        return Finding.CONFIRMED if gain.lower_percent > 0.0 else Finding.OPEN


def observed(
    pairs: Pairs, samples: Iterable[Sample], in_force: Schedule, changed_at: float, now: float, *, untuned: bool
) -> Pairs:
    """`pairs` after one round of scrapes; the one under way is complete once its second side is as long as the first.

    untuned: whether the untuned K is in force, since `changed_at`; else `in_force` is.
    """
    pair = pairs.under_way
    if pair is None:
        return pairs
    if now - changed_at > LONGEST * pair.seconds or not (untuned or in_force == pair.tuned_schedule):
        return replace(pairs, under_way=None)
    pages = {sample.pod: work.counters(sample) for sample in samples if not sample.on_trial}
    settled = changed_at + min(SETTLING_SECONDS, pair.seconds / 4)
    before = {pod: seen for pod, seen in pair.pods.items() if seen.at >= settled}
    done: Work = reduce(work.added, (work.between(before.get(pod), page) for pod, page in pages.items()), {})
    pair = replace(pair, pods={**pair.pods, **pages})
    if untuned:
        return replace(pairs, under_way=replace(pair, untuned=work.added(pair.untuned, done)))
    pair = replace(pair, tuned=work.added(pair.tuned, done))
    if now - changed_at < pair.seconds:
        return replace(pairs, under_way=pair)
    gained = work.log_gain(pair.tuned, pair.untuned)
    return replace(pairs, under_way=None, seen=pairs.seen if gained is None else pairs.seen.added(gained))
