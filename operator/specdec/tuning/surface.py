"""Step time as a surface over (batch, K): any prior table, corrected by a residual learned from measured steps.

log(step time) = log(prior) + residual(K, batch) + prefill + level(pod). The residual is a sum of a level, a trend in
the verified tokens N = batch x (K + 1) (engines differ in the N from which each token costs), a rough function of N
(tile and wave effects live there), a smooth function of the batch and a smooth one of both. Each pod has a level of its
own that wanders within minutes (longer contexts, a slower node), so that what is compared is K against K on the same
pod at the same time. All are Gaussian, so one Kalman filter carries the estimates and, with them, how sure they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from specdec.tuning.basis import Basis, basis
from specdec.tuning.prior import CostTable

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PODS: Final = 8  # how many pods have a level of their own; the steps of further pods are not needed
LEVEL_SD: Final = 0.08
LEVEL_SECONDS: Final = 1200.0
PREFILL_SECONDS_PER_TOKEN: Final = 3e-5  # prior standard deviation
DRIFT_PER_DAY: Final = 0.01  # variance that each weight of the residual gains in a day, its prior being 1
LARGEST_SHARE: Final = 0.9  # of the time that prompts can take
STEP_CV: Final = 0.2  # spread of single steps around their mean
PROMPT_SD: Final = 0.2  # the same, times the share of a step that prompts take: chunks are not linear
INTERVAL_SD: Final = 0.01  # what the mean of one interval can be off by, however many steps it has
# What one observation can move the belief by at most: standard deviations of what was expected, or log units if more.
OUTLIER_SD, OUTLIER_LOG = 4.0, 0.4
NODES: Final = 36
SURPRISE_SHARE: Final = 0.02  # weight of one interval in the running innovation variance


@dataclass(frozen=True, slots=True)
class Grid:
    """Fixed points of one (cost table, largest batch, largest K). Shapes: batches (B,), nodes (NODES,).

    node_of: shape (B,), the first node that is not below each batch size.

    log_prior_ms: shape (K + 1, B). spread: shape (NODES, B), linear interpolation over log batch.
    features: shape (NODES, K + 1, weights).
    """

    batches: Floats
    nodes: Floats
    node_of: Ints
    log_prior_ms: Floats
    spread: Floats
    basis: Basis
    features: Floats


@dataclass(frozen=True, slots=True)
class Steps:
    """Measured steps, shape (n,) each. slot: which pod level applies. prefill: prompt tokens per step.

    noise: variance of the measured log time besides the spread of single steps, shape (n,).
    """

    slot: Ints
    k: Floats
    batch: Floats
    seconds: Floats
    steps: Floats
    prefill: Floats
    noise: Floats


@dataclass(frozen=True, slots=True)
class Filter:
    """mean, covariance of: weights of the residual, prefill seconds per token (in units), level of each pod.

    surprise: running mean of squared normalised innovations; 1 when the noise is as assumed.
    """

    mean: Floats
    covariance: Floats
    surprise: float = 1.0


@dataclass(frozen=True, slots=True)
class Surface:
    """Posterior of log step time without prefill, on a pod of average level.

    residual: shape (K + 1, NODES), to be added to the prior's log milliseconds.
    covariance: shape (NODES, K + 1, K + 1), between the K of one batch size.
    """

    residual: Floats
    covariance: NDArray[np.float32]

    def log_ms(self, grid: Grid) -> Floats:
        """Shape (K + 1, B)."""
        out: Floats = grid.log_prior_ms + self.residual @ grid.spread
        return out


@lru_cache(maxsize=64)
def grid(costs: CostTable, max_batch: int, max_k: int) -> Grid:
    """Shared by all resources with the same prior and limits."""
    batches = np.arange(1, max_batch + 1, dtype=float)
    nodes = np.unique(np.round(np.geomspace(1, max_batch, NODES)))
    log_prior = np.log([costs.step_ms(k, batches) for k in range(max_k + 1)])
    spread = np.array([np.interp(np.log(batches), np.log(nodes), row) for row in np.eye(len(nodes))])
    on = basis(max_batch, max_k)
    k = np.tile(np.arange(max_k + 1.0), nodes.size)
    features = on.features(k, np.repeat(nodes, max_k + 1)).reshape(nodes.size, max_k + 1, -1)
    return Grid(batches, nodes, np.searchsorted(nodes, batches), log_prior, spread, on, features)


def ignorant(on: Grid) -> Filter:
    """Before the first step: every weight unknown to one prior standard deviation."""
    size = on.features.shape[2] + 1 + PODS
    variance = np.ones(size)
    variance[-PODS:] = LEVEL_SD**2
    return Filter(np.zeros(size), np.diag(variance))


def elapse(belief: Filter, seconds: float) -> Filter:
    """`belief` after `seconds` in which levels wander and engines change slowly."""
    keep = np.exp(-seconds / LEVEL_SECONDS)
    mean, covariance = belief.mean.copy(), belief.covariance.copy()
    mean[-PODS:] *= keep
    covariance[-PODS:] *= keep
    covariance[:, -PODS:] *= keep
    variance = covariance.reshape(-1)[:: mean.size + 1]
    variance[:-PODS] += DRIFT_PER_DAY * seconds / 86_400.0
    variance[-PODS:] += LEVEL_SD**2 * (1 - keep**2)
    return replace(belief, mean=mean, covariance=covariance)


def learn(belief: Filter, seen: Steps, on: Grid) -> Filter:
    """`belief` after `seen`: one Kalman update with all measured steps of a round of scrapes."""
    weights = on.features.shape[2]
    h = np.zeros((seen.k.size, belief.mean.size))
    h[:, :weights] = on.basis.features(seen.k, seen.batch)
    h[np.arange(seen.k.size), weights + 1 + seen.slot] = 1.0
    decode = np.exp(_log_prior(on, seen.k, seen.batch) + h @ belief.mean) / 1000.0
    # prompts take a share of the time, whatever K: decode = seconds x (1 - share), linear around the share believed
    shares = seen.prefill / seen.seconds * PREFILL_SECONDS_PER_TOKEN
    prompts = np.clip(shares * belief.mean[weights], 0.0, LARGEST_SHARE)
    h[:, weights] = shares / (1.0 - prompts)
    expected = decode / (1.0 - prompts)
    away = np.log(seen.seconds / expected)
    noise = (STEP_CV**2 / seen.steps + seen.noise + (PROMPT_SD * prompts) ** 2) * belief.surprise
    cross = belief.covariance @ h.T
    spread = h @ cross
    innovation = spread + np.diag(noise)
    # A step that stood still, for a compilation or a paused machine, says nothing of its K.
    most = np.maximum(OUTLIER_SD * np.sqrt(innovation.diagonal()), OUTLIER_LOG)
    gain = np.linalg.solve(innovation, cross.T)
    covariance = belief.covariance - cross @ gain
    ratio = float((away**2 / innovation.diagonal()).mean())
    surprise = belief.surprise * (1 + SURPRISE_SHARE * (min(ratio, 9.0) - 1.0))
    mean = belief.mean + np.clip(away, -most, most) @ gain
    return Filter(mean, (covariance + covariance.T) / 2, min(max(surprise, 0.2), 25.0))


def posterior(belief: Filter, on: Grid) -> Surface:
    """The surface that `belief` stands for, on the nodes of the grid."""
    weights = on.features.shape[2]
    covariance = on.features @ belief.covariance[:weights, :weights] @ on.features.transpose(0, 2, 1)
    return Surface((on.features @ belief.mean[:weights]).T, covariance.astype(np.float32))


def _log_prior(on: Grid, k: Floats, batch: Floats) -> Floats:
    """Log milliseconds at `k` and `batch`, shape (n,), each between whole ones where it is an average over steps."""
    ks, batches = on.log_prior_ms.shape
    low_k = np.minimum(k.astype(np.int64), ks - 2)
    low = np.minimum(np.maximum(batch.astype(np.int64), 1), batches - 1) - 1
    part_k, part = k - low_k, np.minimum(batch - 1.0 - low, 1.0)
    rows = low_k + np.arange(2)[:, None]
    here, above = on.log_prior_ms[rows, low] * (1.0 - part) + on.log_prior_ms[rows, low + 1] * part
    out: Floats = here + part_k * (above - here)
    return out
