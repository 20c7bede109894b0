"""Figures of a checkpoint <-> JSON: short going out, checked coming in."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from specdec.api.schedule import Schedule, Tier
from specdec.tuning.decisions import Gain
from specdec.tuning.sequential import Running

LARGEST_OF_SURFACE: Final = 1e4  # of its means and covariances; each begins at 0 with a variance of 1
Floats = NDArray[np.float64]


class CheckpointError(ValueError):
    """A checkpoint that cannot be used. The caller starts with `new_state` and says so."""


def packed(covariance: Floats) -> str:
    """The lower triangle in single precision."""
    return base64.b64encode(covariance[np.tril_indices(len(covariance))].astype("<f4").tobytes()).decode()


def unpacked(text: str, size: int) -> Floats:
    lower = np.zeros((size, size))
    values = np.frombuffer(base64.b64decode(text, validate=True), dtype="<f4").astype(float)
    lower[np.tril_indices(size)] = sound(values)
    return lower + np.tril(lower, -1).T


def sound(values: Floats) -> Floats:
    if not (np.abs(values) <= LARGEST_OF_SURFACE).all():
        raise CheckpointError("a figure of the step-time surface is not finite, or beyond anything that is learned")
    return values


def number(value: float) -> float:
    return float(f"{value:.5g}")


def numbers(values: Floats) -> list[float]:
    return [number(v) for v in values]


def array(values: list[float], shape: tuple[int, ...]) -> Floats:
    array = np.asarray(values, dtype=float).reshape(shape)
    if not np.isfinite(array).all() or (array < 0).any():
        raise CheckpointError("a count is negative or not finite")
    return array


def sparse(rows: Floats) -> dict[str, list[float]]:
    return {str(i): numbers(row) for i, row in enumerate(rows) if row[0] > 1e-3}


def dense(rows: Mapping[str, list[float]], shape: tuple[int, int]) -> Floats:
    out = np.zeros(shape)
    for index, row in rows.items():
        out[int(index)] = array(row, shape[1:])
    return out


def time(value: float) -> float | None:
    return value if math.isfinite(value) else None


def finite(value: float) -> float:
    if not math.isfinite(number := float(value)):
        raise CheckpointError("a figure is not finite")
    return number


def when(value: float | None) -> float | None:
    return None if value is None else finite(value)


def past(value: float | None) -> float:
    return -math.inf if value is None else finite(value)


def times(document: Mapping[str, float]) -> dict[int, float]:
    return {int(tag): finite(at) for tag, at in document.items()}


def k_of(value: int, most: int) -> int:
    if not 0 <= (k := int(value)) <= most:
        raise CheckpointError(f"a K of {k}, where 0 to {most} are possible")
    return k


def tiers(schedule: Schedule) -> list[list[int]]:
    """The last batch and K of each; the first batch follows from the tier before."""
    return [[tier.to_batch, tier.num_speculative_tokens] for tier in schedule.tiers]


def schedule(tiers: list[list[int]], most: int) -> Schedule:
    """Of `tiers`, or of what earlier versions wrote, which had the first batch too."""
    found: list[Tier] = []
    for *told, to, k in tiers:
        first = int(told[0]) if told else found[-1].to_batch + 1 if found else 1
        found.append(Tier(first, int(to), k_of(k, most)))
    return Schedule(tuple(found))


def running(seen: Running) -> list[float]:
    return [seen.count, seen.mean, seen.squares]


def read_running(figures: list[float]) -> Running:
    count, mean, squares = figures
    return Running(int(count), finite(mean), finite(squares))


def gain(gain: Gain | None) -> list[float] | None:
    return None if gain is None else [number(gain.mean_percent), number(gain.lower_percent), number(gain.upper_percent)]
