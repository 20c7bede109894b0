"""Figures with intervals from per-request values. Pure; chance is an argument.

Requests that were served together are alike, so single requests are not independent. Intervals therefore come from
resampling blocks of time (`BLOCK_SECONDS`), not requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
BLOCK_SECONDS: Final = 5.0
RESAMPLES: Final = 400
LEVEL: Final = 0.95
_FEWEST_BLOCKS: Final = 4
_CELLS_AT_ONCE: Final = 4_000_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % interval; low and high are None with fewer than four blocks of time."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """values, weights: shape (n,). blocks: shape (n,), index of the block of time each one belongs to."""

    values: Floats
    blocks: NDArray[np.int64]
    weights: Floats

    @classmethod
    def of(cls, values: list[float], at: list[float], weights: list[float] | None = None) -> Observed:
        """at: seconds since the start of the run."""
        blocks = np.floor(np.asarray(at, dtype=np.float64) / BLOCK_SECONDS).astype(np.int64)
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


def _drawn_blocks(blocks: NDArray[np.int64], chance: np.random.Generator) -> tuple[NDArray[np.intp], Floats | None]:
    """Shape (n,): place of each observation's block; shape (RESAMPLES, blocks): how often each block is drawn."""
    _, member = np.unique(blocks, return_inverse=True)
    count = int(member.max()) + 1 if member.size else 0
    if count < _FEWEST_BLOCKS:
        return member, None
    return member, chance.multinomial(count, np.full(count, 1.0 / count), size=RESAMPLES).astype(np.float64)


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
