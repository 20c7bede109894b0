"""Estimates -> the schedule that would serve best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from specdec.api.schedule import Schedule, from_table
from specdec.tuning import acceptance
from specdec.tuning.acceptance import AcceptanceEstimate
from specdec.tuning.limits import Limits
from specdec.tuning.samples import BATCH_BUCKET_ENDS
from specdec.tuning.state import State
from specdec.tuning.surface import Grid, Surface

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TIE: Final = 0.0004  # log units of time per token within which the smaller K is taken
SETTLING_SECONDS: Final = 180.0
BUSY_SHARE: Final = 0.02
ANYWHERE_SHARE: Final = 0.1  # of the weight, for batch sizes that were not seen
TIER_PRICE: Final = 0.001  # log units of time per token
MIXED_PRICE: Final = 0.005  # the same at batch sizes in use, where a boundary hides what each K costs
LEAST_TIER: Final = 0.0003  # the same, of a start-up schedule: fewer tiers are easier to read
MOST: Final = 0.9  # share of the request time
FORBIDDEN: Final = 50.0  # log units


@dataclass(frozen=True, slots=True)
class Doubt:
    """What a change of K at one batch size must beat: standard deviations, and log units on top."""

    where_busy: float
    elsewhere: float
    margin: float


@dataclass(frozen=True, slots=True)
class Outlook:
    """What every K would cost per token at every batch size.

    log_tpot: shape (K + 1, B), log milliseconds per output token of one request, decode steps only.
    length_covariance: shape (K + 1, K + 1), of the log mean accepted length.
    unsettled: the traffic changed so recently that what it has become is still being learned.
    """

    log_tpot: Floats
    log_ms: Floats
    acceptance: AcceptanceEstimate
    surface: Surface
    grid: Grid
    length_covariance: Floats
    unsettled: bool = False

    def contrast_sd(self, before: Ints, after: Ints, batches: Ints) -> Floats:
        """Standard deviation of log_tpot[before] - log_tpot[after] at each of `batches`; all shapes equal."""
        node = self.grid.node_of[batches - 1]
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


def outlook(state: State, *, patient: bool = False) -> Outlook:
    """The current estimates, joined. patient: acceptance of the last hours, not minutes, for what stays for days."""
    memory = acceptance.patient(state.acceptance) if patient else state.acceptance
    log_ms = state.surface.log_ms(state.grid)
    accepted = acceptance.estimate(memory, log_ms.shape[0] - 1, state.k_in_use)
    return Outlook(
        log_ms - accepted.log_length[:, None],
        log_ms,
        accepted,
        state.surface,
        state.grid,
        accepted.covariance,
        state.last_at is not None and state.last_at - state.alarmed_at < SETTLING_SECONDS,
    )


def allowed(limits: Limits, start_k: int, on: Grid) -> NDArray[np.bool_]:
    """Shape (K + 1, B) of the grid, for engines started at `start_k`: inside the bounds and the engine's limits.

    Where a limit leaves no K inside the bounds, the smallest K of the bounds stays: every K is over the limit there.
    """
    ceilings = (limits.graph_capture_tokens, limits.max_num_batched_tokens)
    low, high = max(limits.min_k, 1), min(limits.max_k, start_k)
    return _allowed(min(low, high), high, ceilings, on.log_prior_ms.shape)


@lru_cache(maxsize=256)
def _allowed(low: int, high: int, ceilings: tuple[int | None, ...], shape: tuple[int, int]) -> NDArray[np.bool_]:
    k = np.arange(shape[0])[:, None]
    tokens = (k + 1) * np.arange(1, shape[1] + 1)[None, :]
    inside = np.broadcast_to((k >= low) & (k <= high), tokens.shape).copy()
    for ceiling in ceilings:
        if ceiling is not None:
            under = inside & (tokens <= ceiling)
            inside = np.where(under.any(axis=0), under, inside & (k == low))
    return inside


def nearest(table: Ints, inside: NDArray[np.bool_]) -> Ints:
    """`table` with each K that is not `inside` replaced by the nearest that is, the smaller of two."""
    away = np.abs(np.arange(inside.shape[0])[:, None] - table)
    out: Ints = np.where(inside, away, np.iinfo(away.dtype).max).argmin(axis=0)
    return out


def best_table(seen: Outlook, inside: NDArray[np.bool_]) -> Ints:
    """Shape (B,): the K of least time per token at each batch size; near ties go to the smaller K."""
    cost = np.where(inside, seen.log_tpot, np.inf)
    close: NDArray[np.bool_] = cost <= cost.min(axis=0) + TIE
    out: Ints = close.argmax(axis=0)
    return out


@lru_cache(maxsize=512)
def table_of(schedule: Schedule, max_batch: int) -> Ints:
    """`schedule` as an array of K by batch - 1; its last K also serves the batches that it does not name."""
    table = np.array(schedule.table()[:max_batch], dtype=np.int64)
    return np.concatenate((table, np.full(max_batch - table.size, table[-1], dtype=np.int64)))


def better_table(seen: Outlook, inside: NDArray[np.bool_], in_force: Ints, load: Floats, doubt: Doubt) -> Ints:
    """The table in force, changed where another K is better by `doubt`: less where requests are, more where none is.

    A K outside the limits is always changed. K does not rise beyond the batch sizes in use, nor fall below them, unless
    that is as sure.
    """
    best = best_table(seen, inside)
    busy = _in_use(load, best.size)
    at = np.flatnonzero(best != in_force)
    new, old = best[at], in_force[at]
    difference = seen.log_tpot[old, at] - seen.log_tpot[new, at]
    bar = np.where(busy[at], doubt.where_busy, doubt.elsewhere)
    keep = inside[old, at] & (difference < bar * seen.contrast_sd(old, new, at + 1) + doubt.margin)
    best[at] = np.where(keep, old, new)
    return _levelled(seen, inside, best, busy, doubt)


def _levelled(seen: Outlook, inside: NDArray[np.bool_], table: Ints, busy: NDArray[np.bool_], doubt: Doubt) -> Ints:
    """`table`, where no request is as physics has it, K falling with the batch, unless the contrary is known."""
    used = np.flatnonzero(busy)
    if not used.size:
        return table
    falling = table.copy()
    falling[: used[0]] = np.maximum(table[: used[0]], table[used[0]])
    falling[used[-1] + 1 :] = np.minimum(table[used[-1] + 1 :], table[used[-1]])
    at = np.flatnonzero(falling != table)
    level, own = falling[at], table[at]
    lost = seen.log_tpot[level, at] - seen.log_tpot[own, at]
    known = lost > doubt.elsewhere * seen.contrast_sd(level, own, at + 1) + doubt.margin
    falling[at] = np.where(known | ~inside[level, at], own, level)
    return falling


def plain_table(seen: Outlook, inside: NDArray[np.bool_], in_force: Ints, load: Floats, margin: float) -> Ints:
    """The best table of few tiers whose K never rises with the batch: what stock counters can tell apart.

    They average over an interval, in which a boundary near the batch in use mixes two K. So each tier must earn
    TIER_PRICE, MIXED_PRICE where most requests are, and each change of the K in force `margin`. Viterbi's algorithm
    over the grid.
    """
    ks, size = inside.shape
    weight = weight_by_batch(load, size)
    cost = np.where(np.arange(ks)[:, None] == in_force, seen.log_tpot, seen.log_tpot + margin)
    edges = np.concatenate(([0], np.round(seen.grid.nodes).astype(int)))
    summed = np.concatenate((np.zeros((ks, 1)), np.cumsum(np.where(inside, cost, FORBIDDEN) * weight, axis=1)), axis=1)
    stretch = np.diff(summed[:, edges], axis=1)
    price = np.where(_among_most(load, edges[1:-1]), MIXED_PRICE, TIER_PRICE)
    best, *columns = stretch.T.tolist()
    origin = []
    for column, tier in zip(columns, price.tolist(), strict=True):
        came, through = _stepped(best, tier)
        origin.append(came)
        best = [a + b for a, b in zip(through, column, strict=True)]
    path = [best.index(min(best))]
    for came in reversed(origin):
        path.append(came[path[-1]])
    return np.repeat(path[::-1], np.diff(edges))


def _stepped(best: list[float], tier: float) -> tuple[list[int], list[float]]:
    """From which K each K is reached at least cost, and that cost: to stay is free, to come from a larger K `tier`."""
    came, through = list(range(len(best))), list(best)
    larger = len(best) - 1
    for k in reversed(range(larger)):
        if best[larger] + tier < best[k]:
            came[k], through[k] = larger, best[larger] + tier
        if best[k] <= best[larger]:
            larger = k
    return came, through


def rivals(seen: Outlook, in_force: Ints, rows: Ints) -> Ints:
    """The best K beside `in_force` at each of `rows` (batch - 1); all shapes equal."""
    cost = seen.log_tpot[:, rows].copy()
    cost[0], cost[in_force, np.arange(rows.size)] = np.inf, np.inf
    return np.asarray(cost.argmin(axis=0), dtype=np.int64)


def _among_most(load: Floats, batches: Ints) -> NDArray[np.bool_]:
    """Which of `batches` lie among the sizes at which the middle MOST of the request time was spent."""
    total = float(load[:, 0].sum())
    if total <= 0.0:
        return np.zeros(batches.shape, dtype=bool)
    reached = (np.cumsum(load[:, 0]) - load[:, 0] / 2) / total
    at = reached[np.searchsorted(BATCH_BUCKET_ENDS, batches)]
    out: NDArray[np.bool_] = np.abs(at - 0.5) < MOST / 2
    return out


def mean_batches(load: Floats, size: int) -> Ints:
    """Shape (n,): the mean batch, a whole one of at most `size`, of buckets that saw traffic. load: shape (n, 2)."""
    return np.minimum(np.maximum(np.rint(load[:, 1] / load[:, 0]), 1), size).astype(np.int64)


def _in_use(load: Floats, size: int) -> NDArray[np.bool_]:
    """Shape (B,): batch sizes in buckets that hold a share of the request time worth naming."""
    busy = load[:, 0] > BUSY_SHARE * max(float(load[:, 0].sum()), 1e-12)
    out: NDArray[np.bool_] = busy[bucket_of(size)]
    return out


@lru_cache(maxsize=64)
def bucket_of(size: int) -> Ints:
    """Shape (B,): the bucket of each batch size."""
    return np.searchsorted(BATCH_BUCKET_ENDS, np.arange(1, size + 1))


def as_schedule(table: Ints) -> Schedule:
    """A table as tiers."""
    return from_table([int(k) for k in table])


def mean_cost(log_tpot: Floats, table: Ints, weight: Floats) -> float:
    """Log time per token of `table`, weighted by the share of request time at each batch size."""
    return float(weight @ log_tpot[table, np.arange(table.size)])


def tiers(log_tpot: Floats, inside: NDArray[np.bool_], grid: Grid, weight: Floats, most: int) -> Schedule:
    """The best schedule of at most `most` tiers, by dynamic programming over the batch sizes of the grid.

    weight: shape (B,), share of the request time at each batch size.
    """
    edges = np.concatenate(([0], np.round(grid.nodes).astype(int)))
    cost = np.where(inside, log_tpot, FORBIDDEN) * weight
    summed = np.concatenate((np.zeros((cost.shape[0], 1)), np.cumsum(cost, axis=1)), axis=1)[:, edges]
    segment = summed[:, None, :] - summed[:, :, None]  # (K, from, to)
    choice, least = segment.argmin(axis=0), segment.min(axis=0)
    least[np.tril_indices(least.shape[0])] = np.inf
    best, origin = least[0].copy(), [np.zeros(edges.size, dtype=int)]
    for _ in range(most - 1):
        through = best[:, None] + least
        worth = through.min(axis=0) < best - LEAST_TIER
        origin.append(np.where(worth, through.argmin(axis=0), -1))
        best = np.where(worth, through.min(axis=0), best)
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


def weight_by_batch(load: Floats, max_batch: int) -> Floats:
    """Shape (B,), sum 1: share of the request time at each batch size, evenly within a bucket.

    ANYWHERE_SHARE of it is spread over all batch sizes, alike on a logarithmic scale: traffic may move.
    """
    bucket, batch = bucket_of(max_batch), np.arange(1.0, max_batch + 1)
    share = load[:, 0] / max(float(load[:, 0].sum()), 1e-12)
    within = share[bucket] / np.bincount(bucket, minlength=share.size)[bucket]
    anywhere = 1.0 / batch / (1.0 / batch).sum()
    both = within / max(float(within.sum()), 1.0) * (1.0 - ANYWHERE_SHARE) + anywhere * ANYWHERE_SHARE
    out: Floats = both / both.sum()
    return out
