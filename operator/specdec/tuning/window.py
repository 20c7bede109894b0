"""Cumulative counters of pods -> what happened between two scrapes. Resets, lost pods and garbage are dropped here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
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
FIGURES: Final = attrgetter("steps", "step_seconds", "requests", "drafts", "prefill_tokens", "generated_tokens")
KEPT: Final = (0, 1, 2, 4)  # columns of a page's figures that become `Snapshot.cells`
LARGEST: Final = 1e18  # beyond which a figure is no count

# Columns of `Snapshot.totals` before the per-position trials and successes.
DRAFTS, DRAFT_TOKENS, GENERATED, STEPS, ITL_SUM, ITL_COUNT, PROMPT = range(7)
MIXED_STEPS, MIXED_SECONDS, MIXED_PREFILL, EXPECTED_TOKENS, CELL_TOKENS = range(7, 12)
SCALARS: Final = 12
ACCEPTED: Final = slice(SCALARS + POSITIONS, SCALARS + 2 * POSITIONS)  # of the totals, by position
LATENCIES: Final = ("time_per_output_token", "time_to_first_token", "inter_token_latency")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One pod's counters, dense.

    cells: shape (rows, 4), sorted by `keys`: steps, seconds, requests, prompt tokens.
    keys: shape (rows,), (K * BUCKETS + bucket) * 2, plus 1 where the steps also computed prompts.
    totals: shape (SCALARS + 3 * POSITIONS,): scalars, then per position trials, acceptances, and the trials of the
    position before it in drafts that verified this one too (drafts themselves for the first).
    histograms: cumulative counts of the LATENCIES, each followed by the count; `bounds` are their upper ends.
    created: when the counters began, seconds since the epoch: a reset that lost scrapes would hide shows here.
    """

    incarnation: str
    at: float
    exact: bool
    keys: NDArray[np.int16]
    cells: Floats
    totals: Floats
    histograms: tuple[Floats, ...]
    bounds: tuple[tuple[float, ...], ...]
    created: float | None


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


def snapshots(samples: Sequence[Sample]) -> list[Snapshot | None]:
    """One per sample, None where a figure is no usable count (NaN, infinite, negative).

    All pages of a round are read at once: they are small, and numpy asks its price per call.
    """
    if not samples:
        return []
    cells = [tuple(c for c in sample.cells if c.k < KS and c.bucket < BUCKETS) for sample in samples]
    joined = [c for page in cells for c in page]
    flat = np.array(list(map(FIGURES, joined)), dtype=float).reshape(-1, 6)
    accepted = np.array([a for c in joined for a in c.accepted], dtype=float)
    layout = _layout(
        tuple(
            (tuple((c.k * BUCKETS + c.bucket) * 2 + c.mixed for c in page), tuple(len(c.accepted) for c in page))
            for page in cells
        )
    )
    totals = np.zeros((len(samples), SCALARS + 3 * POSITIONS))
    for row, sample in zip(totals, samples, strict=True):
        _stock_totals(row, sample.stock)
    suspect = _unusable(totals, flat, accepted, layout)
    if flat.size:
        with np.errstate(invalid="ignore", over="ignore"):
            _cell_totals(totals, flat, accepted, layout)
    return [
        None if bad else _snapshot(sample, keys, flat[rows][:, KEPT], figures.copy())
        for sample, bad, keys, rows, figures in zip(samples, suspect, layout.keys, layout.rows, totals, strict=True)
    ]


def _snapshot(sample: Sample, keys: NDArray[np.int16], cells: Floats, totals: Floats) -> Snapshot | None:
    histograms = tuple(_counts(sample.stock, name) for name in LATENCIES)
    if not (math.isfinite(sample.at) and all(_usable(counts) for counts in histograms)):
        return None
    return Snapshot(
        sample.incarnation,
        sample.at,
        bool(sample.cells),
        keys,
        cells,
        totals,
        histograms,
        tuple(_bounds(sample.stock, name) for name in LATENCIES),
        sample.stock.created,
    )


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the figures of a round's cells go; equal for all rounds whose pages hold the same cells in the same order.

    Per page: keys of its cells, ascending, and the rows that hold them.
    Per cell: pod, the page it is from; mixed; drafting, its K.
    Per entry of the accepted tokens, laid end to end: owner, its cell; place, where its position goes in the totals of
    its page, beyond the last one when its cell never verified it; onward and further, whether it is a trial of the next
    position, and of the one after that.
    """

    keys: tuple[NDArray[np.int16], ...]
    rows: tuple[Ints, ...]
    pod: Ints
    mixed: NDArray[np.bool_]
    drafting: Ints
    owner: Ints
    place: Ints
    onward: NDArray[np.bool_]
    further: NDArray[np.bool_]


WIDE: Final = POSITIONS + 3  # of a page in `place`: room for positions beyond the last


@lru_cache(maxsize=128)
def _layout(pages: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]) -> _Layout:
    """pages: per page the tags of its cells, (K * BUCKETS + bucket) * 2 + mixed, and how many accepted each holds."""
    tag = np.array([t for tags, _ in pages for t in tags], dtype=np.int64)
    length = np.array([n for _, lengths in pages for n in lengths], dtype=np.int64)
    pod = np.repeat(np.arange(len(pages)), [len(tags) for tags, _ in pages])
    mixed, drafting = tag % 2 == 1, tag // 2 // BUCKETS
    order = np.lexsort((tag, pod))
    ends = np.searchsorted(pod[order], np.arange(1, len(pages)))
    owner = np.repeat(np.arange(length.size), length)
    position = np.arange(owner.size) - (np.cumsum(length) - length)[owner]
    reach = np.minimum(drafting, POSITIONS)[owner]
    return _Layout(
        tuple(np.split(tag[order].astype(np.int16), ends)),
        tuple(np.split(order, ends)),
        pod,
        mixed,
        drafting,
        owner,
        pod[owner] * WIDE + np.where(position < reach, position, POSITIONS),
        position + 1 < reach,
        position + 2 < reach,
    )


def between(before: Snapshot, after: Snapshot) -> Interval | None:
    """Differences, or None when the engine restarted, a counter fell, or no time went by."""
    if before.incarnation != after.incarnation or after.at <= before.at or (before.exact and not after.exact):
        return None
    if before.created is not None and after.created is not None and after.created > before.created + 1.0:
        return None
    cells = after.cells.copy()
    if before.keys is after.keys:
        cells -= before.cells
    elif before.keys.size:
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


def _usable(values: Floats) -> bool:
    return not values.size or bool(values.min() >= 0.0 and values.max() < LARGEST)


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


def _unusable(totals: Floats, flat: Floats, accepted: Floats, layout: _Layout) -> NDArray[np.bool_]:
    """Shape (pages,): whether a figure of the page is no count. A NaN fails both comparisons."""
    out: NDArray[np.bool_] = np.array(~np.all((totals >= 0.0) & (totals < LARGEST), axis=1))
    cells = ~np.all((flat >= 0.0) & (flat < LARGEST), axis=1)
    out[layout.pod[cells]] = True
    out[layout.pod[layout.owner[~((accepted >= 0.0) & (accepted < LARGEST))]]] = True
    return out


def _cell_totals(totals: Floats, flat: Floats, accepted: Floats, layout: _Layout) -> None:
    """Replace the acceptance of the stock counters by the exact one: trials only where the position was verified."""
    pages = len(totals)

    def by_page(values: Floats) -> Floats:
        return np.bincount(layout.pod, values, pages).astype(np.float64)

    def by_position(values: Floats, ahead: int) -> Floats:
        """Shape (pages, POSITIONS): `values` of the accepted tokens, each counted `ahead` positions further on."""
        summed = np.bincount(layout.place + ahead, values, pages * WIDE + ahead)[: pages * WIDE]
        return summed.reshape(pages, WIDE)[:, :POSITIONS].astype(np.float64)

    exact = np.bincount(layout.pod, minlength=pages) > 0
    drafts: Floats = np.where(layout.drafting > 0, flat[:, 3], 0.0)
    passed: Floats = np.bincount(layout.owner, accepted, layout.drafting.size).astype(np.float64)
    yielded = passed + np.where(layout.drafting > 0, flat[:, 3], flat[:, 2])
    trials = by_position(np.where(layout.onward, accepted, 0.0), 1)
    trials[:, 0] = by_page(drafts)
    twice = by_position(np.where(layout.further, accepted, 0.0), 2)
    twice[:, 0], twice[:, 1] = trials[:, 0], by_page(np.where(layout.drafting > 1, drafts, 0.0))
    found = totals.copy()
    found[:, MIXED_STEPS] = by_page(flat[:, 0] * layout.mixed)
    found[:, MIXED_SECONDS] = by_page(flat[:, 1] * layout.mixed)
    found[:, MIXED_PREFILL] = by_page(flat[:, 4] * layout.mixed)
    found[:, CELL_TOKENS] = by_page(flat[:, 5] * ~layout.mixed)
    found[:, EXPECTED_TOKENS] = by_page(yielded * ~layout.mixed)
    found[:, DRAFTS], found[:, DRAFT_TOKENS] = trials[:, 0], by_page(drafts * layout.drafting)
    found[:, SCALARS:] = np.concatenate((trials, by_position(accepted, 0), twice), axis=1)
    totals[exact] = found[exact]


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
