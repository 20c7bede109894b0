"""Cumulative counters of pods -> what happened between two scrapes. Resets, lost pods and garbage are dropped here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from specdec.tuning.samples import BATCH_BUCKET_ENDS, Sample, StockCounters

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BUCKETS: Final = len(BATCH_BUCKET_ENDS) + 1
POSITIONS: Final = 15  # the largest block that any supported drafter proposes
KS: Final = POSITIONS + 1
EMPTY: Final = np.zeros(0)

# Columns of `Snapshot.totals` before the per-position trials and successes.
DRAFTS, DRAFT_TOKENS, GENERATED, STEPS, ITL_SUM, ITL_COUNT, PROMPT = range(7)
MIXED_STEPS, MIXED_SECONDS, MIXED_PREFILL, EXPECTED_TOKENS, CELL_TOKENS = range(7, 12)
SCALARS: Final = 12
LATENCIES: Final = ("time_per_output_token", "time_to_first_token", "inter_token_latency")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One pod's counters, dense.

    cells: shape (rows, 4), sorted by `keys`: steps, seconds, requests, drafts of pure decode steps.
    keys: shape (rows,), K * BUCKETS + bucket.
    totals: shape (SCALARS + 3 * POSITIONS,): scalars, then per position trials, acceptances, and the trials of the
    position before it in drafts that verified this one too (drafts themselves for the first).
    histograms: cumulative counts of the LATENCIES, each followed by the count; `bounds` are their upper ends.
    """

    incarnation: str
    at: float
    exact: bool
    keys: NDArray[np.int16]
    cells: Floats
    totals: Floats
    histograms: tuple[Floats, ...]
    bounds: tuple[tuple[float, ...], ...]
    running: float
    waiting: float


@dataclass(frozen=True, slots=True)
class Interval:
    """What one or more pods did between two of their scrapes; shapes as in Snapshot, all differences."""

    seconds: float
    exact: bool
    keys: NDArray[np.int16]
    cells: Floats
    totals: Floats
    histograms: tuple[Floats, ...]
    bounds: tuple[tuple[float, ...], ...]


def snapshot(sample: Sample) -> Snapshot | None:
    """`sample` as arrays, or None when a figure in it is no usable count (NaN, infinite, negative)."""
    cells = [c for c in sample.cells if c.k < KS and c.bucket < BUCKETS]
    totals = np.zeros(SCALARS + 3 * POSITIONS)
    _stock_totals(totals, sample.stock)
    flat = np.array(
        [(c.steps, c.step_seconds, c.requests, c.drafts, c.prefill_tokens, c.generated_tokens) for c in cells],
        dtype=float,
    ).reshape(-1, 6)
    layout = _layout(
        tuple((c.k * BUCKETS + c.bucket) * 2 + c.mixed for c in cells), tuple(len(c.accepted) for c in cells)
    )
    accepted = np.array([a for c in cells for a in c.accepted], dtype=float)
    histograms = tuple(_counts(sample.stock, name) for name in LATENCIES)
    if not (math.isfinite(sample.at) and _usable(np.concatenate((accepted, totals, flat.ravel(), *histograms)))):
        return None
    if cells:
        _cell_totals(totals, flat, accepted, layout)
    return Snapshot(
        sample.incarnation,
        sample.at,
        bool(cells),
        layout.keys,
        flat[layout.decode, :4],
        totals,
        histograms,
        tuple(_bounds(sample.stock, name) for name in LATENCIES),
        _gauge(sample.stock.running_requests),
        _gauge(sample.stock.waiting_requests),
    )


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the figures of a page's cells go; equal for all pages with the same cells in the same order.

    decode: rows of pure decode steps, by key. mixed: the others. drafting: K of each cell.
    place, owner: position and cell of each entry of the accepted tokens, laid end to end.
    onward, further: which of those are trials of the next position, and of the one after that.
    """

    keys: NDArray[np.int16]
    decode: Ints
    mixed: Ints
    drafting: Ints
    place: Ints
    owner: Ints
    onward: NDArray[np.bool_]
    further: NDArray[np.bool_]


@lru_cache(maxsize=512)
def _layout(tags: tuple[int, ...], lengths: tuple[int, ...]) -> _Layout:
    tag, length = np.array(tags, dtype=np.int64), np.array(lengths, dtype=np.int64)
    keys, mixed = tag // 2, tag % 2
    decode = np.flatnonzero(mixed == 0)
    decode = decode[np.argsort(keys[decode], kind="stable")]
    drafting = keys // BUCKETS
    place = np.concatenate([np.arange(n) for n in length] or [np.zeros(0)]).astype(np.int64)
    owner = np.repeat(np.arange(length.size), length)
    reach = np.minimum(drafting, POSITIONS)[owner]
    place = np.where(place < reach, place, POSITIONS)
    return _Layout(
        keys[decode].astype(np.int16),
        decode,
        np.flatnonzero(mixed),
        drafting,
        place,
        owner,
        place + 1 < reach,
        place + 2 < reach,
    )


def between(before: Snapshot, after: Snapshot) -> Interval | None:
    """Differences, or None when the engine restarted, a counter fell, or no time went by."""
    if before.incarnation != after.incarnation or after.at <= before.at or (before.exact and not after.exact):
        return None
    cells = after.cells.copy()
    if before.keys.size:
        at = np.searchsorted(after.keys, before.keys)
        if after.keys.size == 0 or (at >= after.keys.size).any() or (after.keys[at] != before.keys).any():
            return None
        cells[at] -= before.cells
    totals = after.totals - before.totals
    if totals.min() < 0 or (cells.size and cells.min() < 0):
        return None
    moved = cells[:, 0] > 0 if cells.size else np.zeros(0, dtype=bool)
    histograms = tuple(_fall_free(a, b) for a, b in zip(after.histograms, before.histograms, strict=True))
    return Interval(
        after.at - before.at, after.exact, after.keys[moved], cells[moved], totals, histograms, after.bounds
    )


def _gauge(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) and value >= 0 else 0.0


def _usable(values: Floats) -> bool:
    # a NaN fails both comparisons
    return not values.size or bool(values.min() >= 0.0 and values.max() < 1e18)


def _stock_totals(totals: Floats, stock: StockCounters) -> None:
    itl = stock.inter_token_latency
    totals[DRAFTS] = stock.drafts or 0.0
    totals[DRAFT_TOKENS] = stock.draft_tokens or 0.0
    totals[GENERATED] = stock.generated_tokens or 0.0
    totals[STEPS] = stock.engine_steps or 0.0
    totals[PROMPT] = stock.prompt_tokens or 0.0
    if itl is not None:
        totals[ITL_SUM], totals[ITL_COUNT] = itl.sum_seconds, itl.count
    accepted = stock.accepted_per_position[:POSITIONS]
    totals[SCALARS + POSITIONS : SCALARS + POSITIONS + len(accepted)] = accepted


def _cell_totals(totals: Floats, flat: Floats, accepted: Floats, layout: _Layout) -> None:
    """Replace the acceptance of the stock counters by the exact one: trials only where the position was verified."""
    mixed, drafts = flat[layout.mixed], np.where(layout.drafting > 0, flat[:, 3], 0.0)
    totals[MIXED_STEPS], totals[MIXED_SECONDS] = mixed[:, 0].sum(), mixed[:, 1].sum()
    totals[MIXED_PREFILL], totals[CELL_TOKENS] = mixed[:, 4].sum(), flat[layout.decode, 5].sum()
    totals[DRAFTS], totals[DRAFT_TOKENS] = drafts.sum(), (drafts * layout.drafting).sum()
    trials = totals[SCALARS : SCALARS + POSITIONS]
    trials[:] = np.bincount(layout.place + 1, np.where(layout.onward, accepted, 0.0), POSITIONS + 2)[:POSITIONS]
    trials[0] = totals[DRAFTS]
    totals[SCALARS + POSITIONS : SCALARS + 2 * POSITIONS] = np.bincount(layout.place, accepted, POSITIONS + 1)[
        :POSITIONS
    ]
    twice = np.bincount(layout.place + 2, np.where(layout.further, accepted, 0.0), POSITIONS + 3)[:POSITIONS]
    twice[:2] = drafts.sum(), drafts[layout.drafting > 1].sum()
    totals[SCALARS + 2 * POSITIONS :] = twice
    passed = np.bincount(layout.owner, accepted, layout.drafting.size)
    yielded = passed + np.where(layout.drafting > 0, flat[:, 3], flat[:, 2])
    totals[EXPECTED_TOKENS] = yielded[layout.decode].sum()


def _counts(stock: StockCounters, name: str) -> Floats:
    histogram = getattr(stock, name)
    return EMPTY if histogram is None else np.array((*histogram.cumulative, histogram.count), dtype=float)


def _bounds(stock: StockCounters, name: str) -> tuple[float, ...]:
    histogram = getattr(stock, name)
    return () if histogram is None else tuple(histogram.upper_seconds)


def merged(intervals: Sequence[Interval]) -> tuple[Interval, ...]:
    """The intervals of several pods as one of exact and one of stock counters, where there are any."""
    groups = ([i for i in intervals if i.exact], [i for i in intervals if not i.exact])
    return (*((_sum(groups[0]),) if groups[0] else ()), *groups[1])


def _sum(intervals: Sequence[Interval]) -> Interval:
    if len(intervals) == 1:
        return intervals[0]
    keys, place = np.unique(np.concatenate([i.keys for i in intervals]), return_inverse=True)
    cells = np.zeros((keys.size, 4))
    np.add.at(cells, place, np.concatenate([i.cells for i in intervals]))
    first = intervals[0]
    alike = [i for i in intervals if i.bounds == first.bounds]
    return Interval(
        sum(i.seconds for i in intervals),
        True,
        keys,
        cells,
        np.sum([i.totals for i in intervals], axis=0),
        tuple(np.sum([i.histograms[n] for i in alike], axis=0) for n in range(len(first.histograms))),
        first.bounds,
    )


def _fall_free(after: Floats, before: Floats) -> Floats:
    if after.shape != before.shape:
        return after * 0.0
    return np.maximum(after - before, 0.0)
