"""A cost table from measured steps: the shape that `prior.cost_table` reads, and how well it fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from specdec.tuning.prior import Floats

VERIFY_LADDER: Final = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 4096)
SWEEPS: Final = 4000
LEAST_MS: Final = 1e-3


class FitError(ValueError):
    """The measurements do not determine a table; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class MeasuredSteps:
    """Steps of one K at about one number of requests: `batch` is their mean, `step_ms` the mean milliseconds of one."""

    k: int
    batch: float
    step_ms: float
    steps: float


@dataclass(frozen=True, slots=True)
class FittedCosts:
    """verify, draft: as in a cost table document. median_error: of the fit, as a share of the step time."""

    verify: dict[str, list[float]]
    draft: dict[str, Any]
    median_error: float


def fit(measured: Sequence[MeasuredSteps], max_k: int) -> FittedCosts:
    """Verify time monotone and piecewise linear in verified tokens, draft time growing with batch and K.

    Non-negative least squares on relative errors. One engine shows only the sum of the two, so their split is the
    fit's; sums are what the tuner uses. Raises FitError for fewer than two K or batch sizes.
    """
    if len({m.k for m in measured}) < 2 or len({round(m.batch) for m in measured}) < 2:
        raise FitError("at least two K at two batch sizes must be measured; give the calibration more time")
    k = np.array([m.k for m in measured], dtype=np.float64)
    batch = np.array([m.batch for m in measured], dtype=np.float64)
    step_ms = np.array([m.step_ms for m in measured], dtype=np.float64)
    knots = _knots(batch * (k + 1))
    features = np.hstack([_verify_features(batch * (k + 1), knots), _draft_features(k, batch)])
    found = _non_negative(features / step_ms[:, None], np.ones_like(step_ms))
    split = len(knots)
    verify_ms = _verify_features(knots, knots) @ found[:split]
    batches = np.unique(np.round(batch))
    rows = [_draft_features(np.full_like(batches, float(row)), batches) @ found[split:] for row in range(1, max_k + 1)]
    error = float(np.median(np.abs(features @ found / step_ms - 1.0)))
    draft = {"batch": _listed(batches), "ms_by_k": {str(row + 1): _listed(ms) for row, ms in enumerate(rows)}}
    return FittedCosts({"tokens": _listed(knots), "ms": _listed(verify_ms)}, draft, error)


def _knots(tokens: Floats) -> Floats:
    """Rungs of the ladder around what was measured; between two of them lies at least one measurement."""
    chosen = [float(tokens.min())]
    for rung in VERIFY_LADDER:
        if rung < tokens.max() and np.any((tokens > chosen[-1]) & (tokens <= rung)) and rung > chosen[-1]:
            chosen.append(float(rung))
    return np.array([*chosen, float(tokens.max())]) if tokens.max() > chosen[-1] else np.array(chosen)


def _verify_features(tokens: Floats, knots: Floats) -> Floats:
    """Shape (n, knots): a constant, and how far into each segment between knots the tokens reach."""
    low, high = knots[:-1], knots[1:]
    return np.hstack([np.ones((len(tokens), 1)), np.clip(tokens[:, None] - low, 0.0, high - low)])


def _draft_features(k: Floats, batch: Floats) -> Floats:
    """Shape (n, 4); all zero where nothing is drafted."""
    drafts = (k > 0).astype(np.float64)
    return np.stack([drafts, drafts * batch, k, k * batch], axis=1)


def _non_negative(features: Floats, wanted: Floats) -> Floats:
    """x >= 0 that minimises |features x - wanted|, by coordinate descent on columns scaled to length 1."""
    scale = np.linalg.norm(features, axis=0)
    scale[scale == 0.0] = 1.0
    scaled = features / scale
    gram, target = scaled.T @ scaled, scaled.T @ wanted
    x = np.zeros(features.shape[1])
    for _ in range(SWEEPS):
        for i in range(len(x)):
            x[i] = max(0.0, x[i] + (target[i] - gram[i] @ x) / max(gram[i, i], 1e-12))
    return np.asarray(x / scale)


def _listed(values: Floats) -> list[float]:
    return [round(max(float(v), LEAST_MS), 4) for v in values]
