"""Estimates -> the schedule that would serve best, and what it would gain over the one in force, with its doubt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from specdec.api.schedule import Schedule, from_table
from specdec.tuning import acceptance
from specdec.tuning.acceptance import AcceptanceEstimate
from specdec.tuning.decisions import Gain
from specdec.tuning.limits import Limits
from specdec.tuning.state import State
from specdec.tuning.surface import Grid, Surface

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TIE: Final = 0.0004  # log units of time per token within which the smaller K is taken
ONE_SIDED_90: Final = 1.2816
TWO_SIDED_90: Final = 1.6449
UNSEEN_DRIFT_SD: Final = 0.002  # what traffic may do to a gain between prediction and outcome, log units


@dataclass(frozen=True, slots=True)
class Outlook:
    """What every K would cost per token at every batch size.

    log_tpot: shape (K + 1, B), log milliseconds per output token of one request, decode steps only.
    length_covariance: shape (K + 1, K + 1), of the log mean accepted length.
    """

    log_tpot: Floats
    log_ms: Floats
    acceptance: AcceptanceEstimate
    surface: Surface
    grid: Grid
    length_covariance: Floats

    def contrast_sd(self, before: Ints, after: Ints, batches: Ints) -> Floats:
        """Standard deviation of log_tpot[before] - log_tpot[after] at each of `batches`; all shapes equal."""
        node = np.searchsorted(self.grid.nodes, batches).clip(0, self.grid.nodes.size - 1)
        cost, length = self.surface.covariance, self.length_covariance
        variance = (
            cost[node, before, before]
            + cost[node, after, after]
            - 2 * cost[node, before, after]
            + length[before, before]
            + length[after, after]
            - 2 * length[before, after]
        )
        out: Floats = np.sqrt(np.maximum(variance, 0.0))
        return out


def outlook(state: State) -> Outlook:
    """The current estimates, joined."""
    accepted = acceptance.estimate(state.acceptance)
    log_ms = state.surface.log_ms(state.grid)
    ks = log_ms.shape[0]
    return Outlook(
        log_ms - accepted.log_length[:ks, None],
        log_ms,
        accepted,
        state.surface,
        state.grid,
        accepted.covariance[:ks, :ks],
    )


def allowed(limits: Limits, start_k: int, max_batch: int) -> NDArray[np.bool_]:
    """Shape (K + 1, B): inside the bounds, the CUDA graph limit and the batched-token limit.

    Where a limit leaves no K inside the bounds, the smallest K of the bounds stays: every K is over the limit there.
    """
    k = np.arange(start_k + 1)[:, None]
    tokens = (k + 1) * np.arange(1, max_batch + 1)[None, :]
    low, high = max(limits.min_k, 1), min(limits.max_k, start_k)
    low = min(low, high)
    inside = np.broadcast_to((k >= low) & (k <= high), tokens.shape).copy()
    for ceiling in (limits.graph_capture_tokens, limits.max_num_batched_tokens):
        if ceiling is not None:
            under = inside & (tokens <= ceiling)
            inside = np.where(under.any(axis=0), under, inside & (k == low))
    return inside


def best_table(seen: Outlook, inside: NDArray[np.bool_]) -> Ints:
    """Shape (B,): the K of least time per token at each batch size; near ties go to the smaller K."""
    cost = np.where(inside, seen.log_tpot, np.inf)
    close: NDArray[np.bool_] = cost <= cost.min(axis=0) + TIE
    return close.argmax(axis=0)


def table_of(schedule: Schedule, max_batch: int) -> Ints:
    """`schedule` as an array of K by batch - 1; its last K also serves the batches that it does not name."""
    table = np.array(schedule.table()[:max_batch], dtype=np.int64)
    return np.concatenate((table, np.full(max_batch - table.size, table[-1], dtype=np.int64)))


def careful_table(seen: Outlook, inside: NDArray[np.bool_], in_force: Ints, margin: float) -> Ints:
    """The table in force, changed only where another K is better beyond doubt and `margin` (log units)."""
    best = best_table(seen, inside)
    at = np.arange(best.size)
    difference = seen.log_tpot[in_force, at] - seen.log_tpot[best, at]
    doubt = ONE_SIDED_90 * seen.contrast_sd(in_force, best, at + 1)
    keep = inside[in_force, at] & (difference < doubt + margin)
    return np.where(keep, in_force, best)


def gain(seen: Outlook, before: Ints, after: Ints, load: Floats) -> Gain:
    """Predicted gain in percent, weighted by where requests spend their time.

    load: shape (BUCKETS, 2), see State. Doubts of different batch sizes are taken as one (they share prior and
    acceptance), so the interval is wide rather than narrow.
    """
    used = np.flatnonzero(load[:, 0] > 0)
    if not used.size:
        return Gain(0.0, 0.0, 0.0)
    weight = load[used, 0] / load[used, 0].sum()
    batch = np.clip(np.round(load[used, 1] / load[used, 0]), 1, before.size).astype(np.int64)
    old, new = before[batch - 1], after[batch - 1]
    mean = float((weight * (seen.log_tpot[old, batch - 1] - seen.log_tpot[new, batch - 1])).sum())
    moved = float(weight[old != new].sum())
    sd = float((weight * seen.contrast_sd(old, new, batch)).sum()) + UNSEEN_DRIFT_SD * moved
    low, high = mean - TWO_SIDED_90 * sd, mean + TWO_SIDED_90 * sd
    return Gain(*(100.0 * float(np.expm1(x)) for x in (mean, low, high)))


def as_schedule(table: Ints) -> Schedule:
    """A table as tiers."""
    return from_table([int(k) for k in table])


def tiers(seen: Outlook, inside: NDArray[np.bool_], load: Floats, most: int) -> Schedule:
    """The best schedule of at most `most` tiers for `load`, by dynamic programming over the batch sizes of the grid."""
    edges = np.concatenate(([0], np.round(seen.grid.nodes).astype(int)))
    weight = _weight_by_batch(load, seen.log_tpot.shape[1])
    cost = np.where(inside, seen.log_tpot, 50.0) * weight
    summed = np.concatenate((np.zeros((cost.shape[0], 1)), np.cumsum(cost, axis=1)), axis=1)[:, edges]
    segment = summed[:, None, :] - summed[:, :, None]  # (K, from, to)
    choice, price = segment.argmin(axis=0), segment.min(axis=0)
    price[np.tril_indices(price.shape[0])] = np.inf
    best, origin = price[0].copy(), [np.zeros(edges.size, dtype=int)]
    for _ in range(most - 1):
        through = best[:, None] + price
        origin.append(np.where(through.min(axis=0) < best - 1e-9, through.argmin(axis=0), -1))
        best = np.minimum(best, through.min(axis=0))
    return from_table(_unwound(origin, choice, edges))


def _unwound(origin: Sequence[Ints], choice: Ints, edges: Ints) -> list[int]:
    table: list[int] = []
    end, layer = edges.size - 1, len(origin) - 1
    while end > 0:
        while layer > 0 and origin[layer][end] < 0:
            layer -= 1
        start = int(origin[layer][end])
        table[:0] = [int(choice[start, end])] * int(edges[end] - edges[start])
        end, layer = start, max(layer - 1, 0)
    return table


def _weight_by_batch(load: Floats, max_batch: int) -> Floats:
    weight = np.full(max_batch, 1e-6)
    used = np.flatnonzero(load[:, 0] > 0)
    if used.size:
        batch = np.clip(np.round(load[used, 1] / load[used, 0]), 1, max_batch).astype(int)
        np.add.at(weight, batch - 1, load[used, 0] / load[used, 0].sum())
    return weight
