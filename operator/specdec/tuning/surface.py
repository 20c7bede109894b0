"""Step time as a surface over (batch, K): any prior table, corrected by a smooth residual learned from measured cells.

The residual lives on log step time over (log verified tokens, log batch): a Gaussian process with a wide and a narrow
component. A wrong prior therefore costs accuracy only where nothing was measured, and says so by its covariance.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from specdec.tuning.prior import CostTable
from specdec.tuning.window import BUCKETS

Floats = NDArray[np.float64]

LEVEL_SD: Final = 0.7
WIDE_SD: Final = 0.15
WIDE_SCALES: Final = (1.2, 1.6)  # in log verified tokens, log batch
NARROW_SD: Final = 0.04
NARROW_SCALES: Final = (0.35, 0.6)
OFF_SD: Final = 0.05  # K = 0 runs without a draft pass: another regime
STEP_CV: Final = 0.3  # spread of single steps around their mean
CELL_SD: Final = 0.003  # what a cell's mean can be off by however many steps it saw
LEAST_STEPS: Final = 20.0
MOST_CELLS: Final = 64
NODES: Final = 36


@dataclass(frozen=True, slots=True)
class Grid:
    """Fixed points of one (cost table, largest batch, largest K). Shapes: batches (B,), nodes (NODES,).

    log_prior_ms: shape (K + 1, B). spread: shape (NODES, B), linear interpolation over log batch.
    """

    batches: Floats
    nodes: Floats
    log_prior_ms: Floats
    spread: Floats


@dataclass(frozen=True, slots=True)
class Surface:
    """Posterior of log step time.

    residual: shape (K + 1, NODES), to be added to the prior's log milliseconds.
    covariance: shape (NODES, K + 1, K + 1), between the K of one batch size.
    cells: how many measured cells stand behind it.
    """

    residual: Floats
    covariance: NDArray[np.float32]
    cells: int

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
    return Grid(batches, nodes, log_prior, spread)


def fit(cells: Floats, costs: CostTable, on: Grid) -> Surface:
    """Posterior given `cells`, shape (K + 1, BUCKETS, 3): steps, seconds, requests."""
    max_k = on.log_prior_ms.shape[0] - 1
    k, steps, seconds, requests = _measured(cells[: max_k + 1])
    points = _grid_points(on.nodes, max_k)
    if not k.size:
        own = _own_covariance(on.nodes, max_k)
        return Surface(np.zeros((max_k + 1, on.nodes.size)), own.astype(np.float32), 0)
    batch = requests / steps
    at = _features(k, batch)
    y = np.log(1000.0 * seconds / steps) - _log_prior(costs, k, batch)
    noise = STEP_CV**2 / steps + CELL_SD**2
    lower = np.linalg.cholesky(_kernel(at, at) + np.diag(noise))
    cross = np.linalg.solve(lower, _kernel(at, points))
    mean = cross.T @ np.linalg.solve(lower, y)
    by_node = cross.reshape(k.size, max_k + 1, on.nodes.size).transpose(2, 1, 0)
    covariance = _own_covariance(on.nodes, max_k) - by_node @ by_node.transpose(0, 2, 1)
    return Surface(mean.reshape(max_k + 1, -1), covariance.astype(np.float32), int(k.size))


def _measured(cells: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    steps = cells[..., 0].ravel()
    usable = np.flatnonzero((steps >= LEAST_STEPS) & (cells[..., 2].ravel() > 0) & (cells[..., 1].ravel() > 0))
    if usable.size > MOST_CELLS:
        usable = usable[np.argsort(-steps[usable], kind="stable")[:MOST_CELLS]]
    flat = cells.reshape(-1, 3)[usable]
    return (usable // BUCKETS).astype(float), flat[:, 0], flat[:, 1], flat[:, 2]


def _log_prior(costs: CostTable, k: Floats, batch: Floats) -> Floats:
    out = np.empty(k.size)
    for value in np.unique(k):
        rows = k == value
        out[rows] = np.log(costs.step_ms(int(value), batch[rows]))
    return out


def _features(k: Floats, batch: Floats) -> Floats:
    """Columns: log verified tokens, log batch, 1 where speculation is off."""
    return np.stack((np.log(batch * (k + 1)), np.log(batch), (k == 0).astype(float)), axis=1)


def _grid_points(nodes: Floats, max_k: int) -> Floats:
    k = np.repeat(np.arange(max_k + 1.0), nodes.size)
    return _features(k, np.tile(nodes, max_k + 1))


@lru_cache(maxsize=64)
def _own(nodes: tuple[float, ...], max_k: int) -> Floats:
    points = _grid_points(np.array(nodes), max_k).reshape(max_k + 1, len(nodes), 3)
    return np.stack([_kernel(points[:, n], points[:, n]) for n in range(len(nodes))])


def _own_covariance(nodes: Floats, max_k: int) -> Floats:
    return _own(tuple(nodes), max_k)


def _kernel(a: Floats, b: Floats) -> Floats:
    tokens = (a[:, None, 0] - b[None, :, 0]) ** 2
    batch = (a[:, None, 1] - b[None, :, 1]) ** 2
    wide = WIDE_SD**2 * np.exp(-tokens / (2 * WIDE_SCALES[0] ** 2) - batch / (2 * WIDE_SCALES[1] ** 2))
    narrow = NARROW_SD**2 * np.exp(-tokens / (2 * NARROW_SCALES[0] ** 2) - batch / (2 * NARROW_SCALES[1] ** 2))
    off = OFF_SD**2 * (a[:, None, 2] * b[None, :, 2])
    out: Floats = LEVEL_SD**2 + wide + narrow + off
    return out
