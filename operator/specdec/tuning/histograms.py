"""Prometheus histograms as arrays: cumulative counts by upper end, then the count of all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def quantile(counts: Floats, bounds: tuple[float, ...], q: float) -> float | None:
    """`q` of a histogram, linear inside a bucket; None when it is empty.

    Above the last finite bound the bound itself is returned, as Prometheus does.
    """
    if not counts.size or counts[-1] <= 0 or not bounds:
        return None
    rank = q * counts[-1]
    at = int(np.searchsorted(counts[:-1], rank))
    if at >= len(bounds):
        return bounds[-1]
    low, below = (bounds[at - 1], counts[at - 1]) if at else (0.0, 0.0)
    inside = counts[at] - below
    return float(low + (bounds[at] - low) * ((rank - below) / inside if inside > 0 else 1.0))


def mean(counts: Floats, bounds: tuple[float, ...]) -> float | None:
    """Mean with every observation in the middle of its bucket; None when the histogram is empty."""
    if not counts.size or counts[-1] <= 0 or not bounds:
        return None
    ends = np.array((0.0, *bounds))
    middle = np.concatenate(((ends[1:] + ends[:-1]) / 2, ends[-1:]))
    each = np.diff(np.concatenate(([0.0], counts)))
    return float((middle * each).sum() / counts[-1])
