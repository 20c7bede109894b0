"""Figures with intervals from per-request values. Pure; chance is an argument.

Requests that were served together are alike, so single requests are not independent. Intervals therefore come from
resampling blocks of time (`BLOCK_SECONDS`), not requests. Blocks are drawn within their stratum (a phase of the plan):
that phases differ is the plan's doing and no uncertainty. Strata of few blocks are drawn together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
BLOCK_SECONDS: Final = 5.0
RESAMPLES: Final = 400
LEVEL: Final = 0.95
_FEWEST_BLOCKS: Final = 4
_FEWEST_OF_STRATUM: Final = 3
_MOST_BLOCKS: Final = 2**20
_CELLS_AT_ONCE: Final = 4_000_000
_BIN: Final = 0.005
_LEAST_VALUE: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % interval; low and high are None with fewer than four blocks of time."""

    value: float
    low: float | None = None
    high: float | None = None

    def scaled(self, factor: float) -> Estimate:
        """All of it times a factor that is not negative."""
        low, high = (None if end is None else end * factor for end in (self.low, self.high))
        return Estimate(self.value * factor, low, high)


class Span(NamedTuple):
    """Part of a run: seconds since its start, and the stratum that its blocks are drawn in."""

    start: float
    end: float
    stratum: int = 0

    @property
    def seconds(self) -> float:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Observed:
    """values, weights: shape (n,). blocks: shape (n,), the block of time and the stratum each one belongs to."""

    values: Floats
    blocks: NDArray[np.int64]
    weights: Floats

    @classmethod
    def of(
        cls,
        values: Sequence[float] | Floats,
        at: Sequence[float] | Floats,
        weights: Sequence[float] | None = None,
        strata: Sequence[int] | NDArray[np.int64] | None = None,
    ) -> Observed:
        """at: seconds since the start of the run. strata: see `stratum`; all the same when None."""
        blocks = np.floor(np.asarray(at, dtype=np.float64) / BLOCK_SECONDS).astype(np.int64)
        blocks += np.asarray(0 if strata is None else strata, dtype=np.int64) * _MOST_BLOCKS
        given = np.asarray(values, dtype=np.float64)
        return cls(given, blocks, np.ones_like(given) if weights is None else np.asarray(weights, dtype=np.float64))


def percentile(observed: Observed, percent: float, chance: np.random.Generator) -> Estimate | None:
    """The percentile of the values, None without values."""
    if not observed.values.size:
        return None
    order = np.argsort(observed.values, kind="stable")
    values = observed.values[order]
    member, drawn = _drawn_blocks(observed.blocks, chance)
    value = float(np.percentile(values, percent))
    return _estimate(value, None if drawn is None else _resampled_percentiles(values, member[order], drawn, percent))


def weighted_mean(observed: Observed, chance: np.random.Generator) -> Estimate | None:
    """sum(values x weights) / sum(weights), None without weight."""
    if observed.weights.sum() <= 0:
        return None
    member, drawn = _drawn_blocks(observed.blocks, chance)
    value = float((observed.values * observed.weights).sum() / observed.weights.sum())
    return _estimate(value, None if drawn is None else _resampled_means(observed, member, drawn))


def stratum(name: str) -> int:
    """A number for the stratum of that name, the same for every run."""
    return crc32(name.encode())


def rate(observed: Observed, spans: Sequence[Span], chance: np.random.Generator) -> Estimate:
    """sum(values) per second of the spans. Blocks that lie only in part within them count for that part."""
    heft = _seconds_by_block(spans)
    blocks = np.array([*observed.blocks, *heft], dtype=np.int64)
    place, drawn = _drawn_blocks(blocks, chance)
    count = observed.values.size
    value = float(observed.values.sum()) / sum(heft.values())
    if drawn is None:
        return Estimate(value)
    total = np.bincount(place[:count], observed.values, minlength=drawn.shape[1])
    seconds = np.bincount(place[count:], list(heft.values()), minlength=drawn.shape[1])
    with np.errstate(all="ignore"):
        return _estimate(value, (drawn @ total) / (drawn @ seconds))


def _seconds_by_block(spans: Sequence[Span]) -> dict[int, float]:
    found: dict[int, float] = {}
    for piece in cut_at_blocks(spans):
        block = piece.stratum * _MOST_BLOCKS + int(piece.start // BLOCK_SECONDS)
        found[block] = found.get(block, 0.0) + piece.seconds
    return found


def cut_at_blocks(spans: Sequence[Span]) -> list[Span]:
    """The same spans in pieces that lie within one block each."""
    return [
        Span(max(span.start, block * BLOCK_SECONDS), min(span.end, (block + 1) * BLOCK_SECONDS), span.stratum)
        for span in spans
        for block in range(int(span.start // BLOCK_SECONDS), int(np.ceil(span.end / BLOCK_SECONDS)))
    ]


def binned_percentile(observed: Observed, percent: float, chance: np.random.Generator) -> Estimate | None:
    """`percentile` for very many positive values: the interval comes from a histogram with bins of 0.5 %."""
    if not observed.values.size:
        return None
    value = float(np.percentile(observed.values, percent))
    member, drawn = _drawn_blocks(observed.blocks, chance)
    if drawn is None:
        return Estimate(value)
    bins = np.floor(np.log(np.maximum(observed.values, _LEAST_VALUE)) / _BIN).astype(np.int64)
    shown, place = np.unique(bins, return_inverse=True)
    counts = np.zeros((drawn.shape[1], shown.size))
    np.add.at(counts, (member, place), 1.0)
    weights = np.vstack([np.ones(drawn.shape[1]), drawn])
    running = np.cumsum(weights @ counts, axis=1)
    first = (running < running[:, -1:] * (percent / 100.0)).sum(axis=1)
    found = np.exp((shown[np.minimum(first, shown.size - 1)] + 0.5) * _BIN)
    return _estimate(value, found[1:] * (value / found[0]))  # relative to all values in the same bins


def relative_gain(arm: Observed, baseline: Observed, chance: np.random.Generator) -> Estimate | None:
    """100 x (1 - weighted mean of the arm / that of the baseline): percent less, positive when the arm is lower.

    The same blocks of time are drawn for both, because twins meet the same load at the same moment.
    """
    if arm.weights.sum() <= 0 or baseline.weights.sum() <= 0:
        return None
    member, drawn = _drawn_blocks(np.concatenate([arm.blocks, baseline.blocks]), chance)
    sides = (arm, member[: arm.blocks.size]), (baseline, member[arm.blocks.size :])
    a, b = (float((side.values * side.weights).sum() / side.weights.sum()) for side, _ in sides)
    value = 100.0 * (1.0 - a / b)
    if drawn is None:
        return Estimate(value)
    a_means, b_means = (_resampled_means(side, of, drawn) for side, of in sides)
    with np.errstate(all="ignore"):
        return _estimate(value, 100.0 * (1.0 - a_means / b_means))


def ratio_percent(new: Estimate, old: Estimate) -> Estimate | None:
    """100 x new / old for two separate runs, their intervals combined as independent; None where old is 0."""
    if old.value == 0:
        return None
    value = 100.0 * new.value / old.value
    if new.low is None or new.high is None or old.low is None or old.high is None:
        return Estimate(value)
    spread = float(np.hypot((new.high - new.low) / 2, new.value / old.value * (old.high - old.low) / 2))
    return Estimate(value, value - 100.0 * spread / old.value, value + 100.0 * spread / old.value)


def speedup(gain: Estimate | None) -> Estimate | None:
    """How many times as fast, from percent of time saved (`relative_gain`); the interval goes along."""
    if gain is None:
        return None
    value, low, high = (None if end is None or end >= 100.0 else 100.0 / (100.0 - end) for end in _ends(gain))
    return None if value is None else Estimate(value, low, high)


def _ends(estimate: Estimate) -> tuple[float, float | None, float | None]:
    return estimate.value, estimate.low, estimate.high


def _drawn_blocks(blocks: NDArray[np.int64], chance: np.random.Generator) -> tuple[NDArray[np.intp], Floats | None]:
    """Shape (n,): place of each observation's block; shape (RESAMPLES, blocks): how often each block is drawn."""
    present, member = np.unique(blocks, return_inverse=True)
    if present.size < _FEWEST_BLOCKS:
        return member, None
    strata, of, sizes = np.unique(present // _MOST_BLOCKS, return_inverse=True, return_counts=True)
    of = np.where(sizes[of] < _FEWEST_OF_STRATUM, strata.size, of)
    drawn = np.zeros((RESAMPLES, present.size))
    for place in np.unique(of):
        columns = np.flatnonzero(of == place)
        even = np.full(columns.size, 1.0 / columns.size)
        drawn[:, columns] = chance.multinomial(columns.size, even, size=RESAMPLES)
    return member, drawn


def _resampled_means(observed: Observed, member: NDArray[np.intp], drawn: Floats) -> Floats:
    """Shape (RESAMPLES,); NaN where nothing with weight was drawn."""
    size = drawn.shape[1]
    total = np.bincount(member, observed.values * observed.weights, minlength=size)
    heft = np.bincount(member, observed.weights, minlength=size)
    with np.errstate(all="ignore"):
        means: Floats = (drawn @ total) / (drawn @ heft)
    return means


def _resampled_percentiles(ordered: Floats, member: NDArray[np.intp], drawn: Floats, percent: float) -> Floats:
    """Shape (RESAMPLES,). ordered: ascending; member: block of each of them."""
    rows = max(1, _CELLS_AT_ONCE // ordered.size)
    parts = []
    for first in range(0, drawn.shape[0], rows):
        running = np.cumsum(drawn[first : first + rows, member], axis=1)
        place = (running < running[:, -1:] * (percent / 100.0)).sum(axis=1)
        parts.append(ordered[np.minimum(place, ordered.size - 1)])
    return np.concatenate(parts)


def _estimate(value: float, resampled: Floats | None) -> Estimate:
    if resampled is None:
        return Estimate(value)
    tail = 100.0 * (1.0 - LEVEL) / 2.0
    low, high = np.nanpercentile(resampled, [tail, 100.0 - tail])
    return Estimate(value, float(low), float(high))


def as_dict(estimate: Estimate | None) -> dict[str, Any] | None:
    """For JSON: rounded to six significant digits."""
    if estimate is None:
        return None
    return {
        "value": _significant(estimate.value),
        "low": None if estimate.low is None else _significant(estimate.low),
        "high": None if estimate.high is None else _significant(estimate.high),
    }


def _significant(value: float) -> float:
    return float(f"{value:.6g}")
