"""Cumulative counters of pods -> what happened between two scrapes. Resets, lost pods and garbage are dropped here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from specdec.tuning.samples import BATCH_BUCKET_ENDS, Cell, Sample, StockCounters

Floats = NDArray[np.float64]

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
    totals: shape (SCALARS + 2 * POSITIONS,): scalars, then trials and acceptances per position.
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
    cells = sorted((c for c in sample.cells if c.k < KS and c.bucket < BUCKETS), key=_key)
    totals = np.zeros(SCALARS + 2 * POSITIONS)
    _stock_totals(totals, sample.stock)
    if cells:
        _cell_totals(totals, cells)
    decode = [c for c in cells if not c.mixed]
    rows = np.array([(c.steps, c.step_seconds, c.requests, c.drafts) for c in decode], dtype=float).reshape(-1, 4)
    keys = np.array([_key(c) for c in decode], dtype=np.int16)
    histograms = tuple(_counts(sample.stock, name) for name in LATENCIES)
    if not (math.isfinite(sample.at) and _usable(totals) and _usable(rows) and all(map(_usable, histograms))):
        return None
    return Snapshot(
        sample.incarnation,
        sample.at,
        bool(cells),
        keys,
        rows,
        totals,
        histograms,
        tuple(_bounds(sample.stock, name) for name in LATENCIES),
        _gauge(sample.stock.running_requests),
        _gauge(sample.stock.waiting_requests),
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
    if (totals < 0).any() or (cells < 0).any():
        return None
    moved = cells[:, 0] > 0 if cells.size else np.zeros(0, dtype=bool)
    histograms = tuple(_fall_free(a, b) for a, b in zip(after.histograms, before.histograms, strict=True))
    return Interval(
        after.at - before.at, after.exact, after.keys[moved], cells[moved], totals, histograms, after.bounds
    )


def _key(cell: Cell) -> int:
    return cell.k * BUCKETS + cell.bucket


def _gauge(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) and value >= 0 else 0.0


def _usable(values: Floats) -> bool:
    return not values.size or bool(np.isfinite(values).all() and (values >= 0).all() and values.max() < 1e18)


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


def _cell_totals(totals: Floats, cells: list[Cell]) -> None:
    """Replace the acceptance of the stock counters by the exact one: trials only where the position was verified."""
    mixed = [c for c in cells if c.mixed]
    totals[MIXED_STEPS] = sum(c.steps for c in mixed)
    totals[MIXED_SECONDS] = sum(c.step_seconds for c in mixed)
    totals[MIXED_PREFILL] = sum(c.prefill_tokens for c in mixed)
    totals[CELL_TOKENS] = sum(c.generated_tokens for c in cells if not c.mixed)
    trials = totals[SCALARS : SCALARS + POSITIONS]
    accepted = totals[SCALARS + POSITIONS :]
    accepted[:] = 0.0
    drafts = draft_tokens = 0.0
    for cell in cells:
        drafts += cell.drafts
        draft_tokens += sum(cell.verified)
        reached = min(cell.k, len(cell.accepted), POSITIONS)
        if not cell.mixed:
            totals[EXPECTED_TOKENS] += sum(cell.accepted) + (cell.drafts if cell.k else cell.requests)
        if reached:
            trials[0] += cell.verified[0] if cell.verified else cell.drafts
            trials[1:reached] += cell.accepted[: reached - 1]
            accepted[:reached] += cell.accepted[:reached]
    totals[DRAFTS], totals[DRAFT_TOKENS] = drafts, draft_tokens


def _counts(stock: StockCounters, name: str) -> Floats:
    histogram = getattr(stock, name)
    return EMPTY if histogram is None else np.array((*histogram.cumulative, histogram.count), dtype=float)


def _bounds(stock: StockCounters, name: str) -> tuple[float, ...]:
    histogram = getattr(stock, name)
    return () if histogram is None else tuple(histogram.upper_seconds)


def _fall_free(after: Floats, before: Floats) -> Floats:
    if after.shape != before.shape:
        return after * 0.0
    return np.maximum(after - before, 0.0)
