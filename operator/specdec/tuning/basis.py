"""Functions that a step-time residual is made of, as features whose weights are independent and of unit variance."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEVEL_SD: Final = 0.7
TREND_SD: Final = 0.5
TREND_KNEES: Final = (16.0, 64.0, 256.0)  # verified tokens at which a term has risen by half
TOKENS_SD, TOKENS_SCALE = 0.08, 0.35  # rough function of log verified tokens
DENSE_TOKENS: Final = (24.0, 1024.0)
BATCH_SD, BATCH_SCALE, BATCH_STEP = 0.10, 1.2, 0.7  # function of log batch
BOTH_SD, BOTH_SCALES = 0.12, (2.0, 1.0)  # smooth function of log batch and log(K + 1)
BOTH_KNOTS: Final = (4, 3)
OFF_SD: Final = 0.08  # K = 0 runs without a draft pass: another regime
JITTER: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Basis:
    """Knots and the Cholesky factors of their prior covariances."""

    tokens: Floats
    tokens_factor: Floats
    batch: Floats
    batch_factor: Floats
    both: tuple[Floats, Floats]
    both_factor: Floats

    def features(self, k: Floats, batch: Floats) -> Floats:
        """Shape (n, weights) for `k` and `batch` of shape (n,)."""
        log_batch, log_block = np.log(batch), np.log(k + 1.0)
        wide = (_hats(log_batch, self.both[0])[:, :, None] * _hats(log_block, self.both[1])[:, None, :]).reshape(
            k.size, -1
        )
        columns = (
            np.full((k.size, 1), LEVEL_SD),
            TREND_SD * _risen(batch * (k + 1.0)),
            OFF_SD * (k < 0.5)[:, None],
            _hats(log_batch + log_block, self.tokens) @ self.tokens_factor,
            _hats(log_batch, self.batch) @ self.batch_factor,
            wide @ self.both_factor,
        )
        return np.concatenate(columns, axis=1)


@lru_cache(maxsize=32)
def basis(max_batch: int, max_k: int) -> Basis:
    """Shared by all resources with the same limits."""
    longest = np.log(max_batch * (max_k + 1.0))
    tokens = _token_knots(longest)
    batch = np.linspace(0.0, np.log(max(max_batch, 2)), int(np.ceil(np.log(max(max_batch, 2)) / BATCH_STEP)) + 1)
    both = (np.linspace(0.0, batch[-1], BOTH_KNOTS[0]), np.linspace(0.0, np.log(max_k + 1.0), BOTH_KNOTS[1]))
    first, second = (knots.ravel() for knots in np.meshgrid(*both, indexing="ij"))
    smooth = BOTH_SD**2 * np.exp(-(_squared(first) / BOTH_SCALES[0] ** 2 + _squared(second) / BOTH_SCALES[1] ** 2) / 2)
    return Basis(
        tokens,
        _factor(_matern(tokens, TOKENS_SD, TOKENS_SCALE)),
        batch,
        _factor(_matern(batch, BATCH_SD, BATCH_SCALE)),
        both,
        _factor(smooth),
    )


def _token_knots(longest: float) -> Floats:
    """Log verified tokens: dense where schedules are decided, coarse where a step is all fixed cost or all slope."""
    low, high = (min(float(np.log(tokens)), longest) for tokens in DENSE_TOKENS)
    parts = [np.linspace(0.0, low, 7)[:-1], np.linspace(low, high, 20)]
    if longest > high:
        parts.append(np.linspace(high, longest, 4)[1:])
    knots: Floats = np.unique(np.concatenate(parts))
    return knots


def _risen(tokens: Floats) -> Floats:
    """Shape (n, knees): 0 far below each knee, 1 far above."""
    out: Floats = 1.0 / (1.0 + np.array(TREND_KNEES) / tokens[:, None])
    return out


def _hats(x: Floats, knots: Floats) -> Floats:
    """Shape (n, knots): weights of linear interpolation, the end values beyond the ends."""
    place = np.interp(x, knots, np.arange(knots.size, dtype=float))
    out: Floats = np.maximum(1.0 - np.abs(place[:, None] - np.arange(knots.size)), 0.0)
    return out


def _squared(x: Floats) -> Floats:
    return (x[:, None] - x[None, :]) ** 2


def _matern(x: Floats, sd: float, scale: float) -> Floats:
    """Matern covariance of order 3/2: continuous, with kinks allowed."""
    away = np.sqrt(3.0 * _squared(x)) / scale
    return sd**2 * (1.0 + away) * np.exp(-away)


def _factor(covariance: Floats) -> Floats:
    out: Floats = np.linalg.cholesky(covariance + JITTER * np.eye(len(covariance))).astype(np.float64)
    return out
