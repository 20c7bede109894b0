"""Cumulative counters of pods -> what happened between two scrapes. Resets, lost pods and garbage are dropped here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache, reduce
from itertools import accumulate, chain, pairwise
from operator import attrgetter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from specdec.tuning.samples import BATCH_BUCKET_ENDS, Sample, StockCounters

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Keys = NDArray[np.int16]

BUCKETS: Final = len(BATCH_BUCKET_ENDS) + 1
POSITIONS: Final = 15  # the largest block that any supported drafter proposes
KS: Final = POSITIONS + 1
EMPTY: Final = np.zeros(0)
CELL: Final = attrgetter(
    "k", "bucket", "mixed", "steps", "step_seconds", "requests", "drafts", "prefill_tokens", "generated_tokens"
)
PASSED: Final = attrgetter("accepted")
KEPT: Final = (0, 1, 2, 4)  # columns of a page's figures that become `Snapshot.cells`
LARGEST: Final = 1e18  # beyond which a figure is no count

# Columns of `Snapshot.totals` before the per-position trials and successes.
DRAFTS, DRAFT_TOKENS, GENERATED, STEPS, ITL_SUM, ITL_COUNT, PROMPT = range(7)
MIXED_STEPS, MIXED_SECONDS, MIXED_PREFILL, EXPECTED_TOKENS, CELL_TOKENS = range(7, 12)
EXACT_ONLY: Final = (MIXED_STEPS, MIXED_SECONDS, MIXED_PREFILL, EXPECTED_TOKENS, CELL_TOKENS)
SCALARS: Final = 12
ACCEPTED: Final = slice(SCALARS + POSITIONS, SCALARS + 2 * POSITIONS)  # of the totals, by position
LATENCIES: Final = ("time_per_output_token", "time_to_first_token", "inter_token_latency")
SHOWN: Final = attrgetter(*LATENCIES)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One pod's counters, dense.

    cells: shape (rows, 4), sorted by `keys`: steps, seconds, requests, prompt tokens.
    keys: shape (rows,), (K * BUCKETS + bucket) * 2, plus 1 where the steps also computed prompts.
    totals: shape (SCALARS + 3 * POSITIONS,): scalars, then per position trials, acceptances, and the trials of the
    position before it in drafts that verified this one too (drafts themselves for the first).
    histograms: cumulative counts of the LATENCIES, each followed by the count, end to end; `lengths` says how many are
    of each, `bounds` are their upper ends.
    created: when the counters began, seconds since the epoch: a reset that lost scrapes would hide shows here.
    """

    incarnation: str
    at: float
    exact: bool
    keys: NDArray[np.int16]
    cells: Floats
    totals: Floats
    histograms: Floats
    lengths: tuple[int, ...]
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
    histograms: Floats
    lengths: tuple[int, ...]
    bounds: tuple[tuple[float, ...], ...]

    @property
    def latencies(self) -> tuple[Floats, ...]:
        """Counts of each of the LATENCIES."""
        ends = tuple(accumulate(self.lengths, initial=0))
        return tuple(self.histograms[start:end] for start, end in pairwise(ends))


def snapshots(samples: Sequence[Sample]) -> list[Snapshot | None]:
    """One per sample, None where a figure is no usable count (NaN, infinite, negative).

    All pages of a round are read at once: they are small, and numpy asks its price per call.
    """
    if not samples:
        return []
    joined = [c for sample in samples for c in sample.cells]
    read = np.fromiter(chain.from_iterable(map(CELL, joined)), float, 9 * len(joined)).reshape(-1, 9)
    passed = list(map(PASSED, joined))
    accepted = np.fromiter(chain.from_iterable(passed), float)
    places, flat = np.column_stack((read[:, :3], list(map(len, passed)))), read[:, 3:]
    layout = _layout(tuple(len(sample.cells) for sample in samples), places.tobytes())
    totals = np.zeros((len(samples), SCALARS + 3 * POSITIONS))
    for row, sample in zip(totals, samples, strict=True):
        _stock_totals(row, sample.stock)
    suspect = _unusable(totals, flat, accepted, layout)
    if flat.size:
        with np.errstate(invalid="ignore", over="ignore") if suspect.any() else nullcontext():
            _cell_totals(totals, flat, accepted, layout)
    kept = flat[layout.order[:, None], KEPT]
    return [
        None if bad else _snapshot(sample, keys, kept[rows].copy(), figures.copy())
        for sample, bad, keys, rows, figures in zip(
            samples, suspect.tolist(), layout.keys, layout.rows, totals, strict=True
        )
    ]


def _snapshot(sample: Sample, keys: NDArray[np.int16], cells: Floats, totals: Floats) -> Snapshot | None:
    histograms = SHOWN(sample.stock)
    shown = [() if histogram is None else (*histogram.cumulative, histogram.count) for histogram in histograms]
    counts = list(chain.from_iterable(shown))
    # a NaN or infinity shows in the sum; it would escape min and max
    if not math.isfinite(sample.at + sum(counts)) or (counts and not 0.0 <= min(counts) <= max(counts) < LARGEST):
        return None
    return Snapshot(
        sample.incarnation,
        sample.at,
        bool(sample.cells),
        keys,
        cells,
        totals,
        np.array(counts, dtype=float) if counts else EMPTY,
        tuple(map(len, shown)),
        tuple(() if histogram is None else histogram.upper_seconds for histogram in histograms),
        sample.stock.created,
    )


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the figures of a round's cells go; equal for all rounds whose pages hold the same cells in the same order.

    order: the cells by page and key. Per page: keys of its cells, ascending, and where in `order` they are.
    Per cell: pod, the page it is from, or one beyond the last for a cell of no use; mixed; drafting, its K.
    Per entry of the accepted tokens, laid end to end: owner, its cell; place, where its position goes in the totals of
    its page, beyond the last one when its cell never verified it; onward and further, whether it is a trial of the next
    position, and of the one after that.
    """

    order: Ints
    keys: tuple[NDArray[np.int16], ...]
    rows: tuple[slice, ...]
    pod: Ints
    mixed: NDArray[np.bool_]
    drafting: Ints
    owner: Ints
    place: Ints
    onward: NDArray[np.bool_]
    further: NDArray[np.bool_]


WIDE: Final = POSITIONS + 3  # of a page in `place`: room for positions beyond the last


@lru_cache(maxsize=128)
def _layout(cells: tuple[int, ...], places: bytes) -> _Layout:
    """cells: how many each page holds. places: per cell K, bucket, whether mixed, and how many accepted it lists."""
    k, bucket, mixed, length = np.frombuffer(places).reshape(-1, 4).T.astype(np.int64)
    pages = len(cells)
    pod = np.where((k < KS) & (bucket < BUCKETS), np.repeat(np.arange(pages), cells), pages)
    tag = (k * BUCKETS + bucket) * 2 + mixed
    order = np.lexsort((tag, pod))
    rows = tuple(slice(*pair) for pair in pairwise(np.searchsorted(pod[order], np.arange(pages + 1)).tolist()))
    owner = np.repeat(np.arange(length.size), length)
    position = np.arange(owner.size) - (np.cumsum(length) - length)[owner]
    reach = np.minimum(k, POSITIONS)[owner]
    return _Layout(
        order,
        tuple(tag[order[page]].astype(np.int16) for page in rows),
        rows,
        pod,
        mixed == 1,
        k,
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
    cells = difference((before.keys, before.cells), (after.keys, after.cells))
    totals = after.totals - before.totals
    if cells is None or (totals < 0).any() or (cells < 0).any():
        return None
    moved = cells[:, 0] > 0
    alike = before.lengths == after.lengths
    return Interval(
        after.at - before.at,
        after.exact,
        after.keys[moved],
        cells[moved],
        totals,
        np.maximum(after.histograms - before.histograms, 0.0) if alike else after.histograms * 0.0,
        after.lengths,
        after.bounds,
    )


def difference(before: tuple[Keys, Floats], after: tuple[Keys, Floats]) -> Floats | None:
    """Cells of `after` less those of `before`, by key; None when one was lost. Each: keys, ascending, and cells."""
    (old, cells_before), (keys, cells) = before, after
    cells = cells.copy()
    if old is keys:
        cells -= cells_before
    elif old.size:
        at = np.searchsorted(keys, old)
        if keys.size == 0 or (at >= keys.size).any() or (keys[at] != old).any():
            return None
        cells[at] -= cells_before
    return cells


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
    """Shape (pages,): whether a figure of the page is no count. A NaN fails every comparison."""
    out = np.zeros(len(totals) + 1, dtype=bool)
    if all(x.min(initial=0.0) >= 0.0 and x.max(initial=0.0) < LARGEST for x in (totals, flat, accepted)):
        return out[:-1]
    out[:-1] = ~np.all((totals >= 0.0) & (totals < LARGEST), axis=1)
    cells = ~np.all((flat >= 0.0) & (flat < LARGEST), axis=1)
    out[layout.pod[cells]] = True
    out[layout.pod[layout.owner[~((accepted >= 0.0) & (accepted < LARGEST))]]] = True
    return out[:-1]


def _cell_totals(totals: Floats, flat: Floats, accepted: Floats, layout: _Layout) -> None:
    """Replace the acceptance of the stock counters by the exact one: trials only where the position was verified."""
    pages = len(totals)

    def by_page(*columns: Floats) -> Floats:
        """Shape (pages, columns): sums over each page's cells."""
        at = layout.pod + np.arange(len(columns))[:, None] * (pages + 1)
        summed = np.bincount(at.ravel(), np.concatenate(columns), len(columns) * (pages + 1))
        return summed.reshape(len(columns), -1)[:, :pages].T.astype(np.float64)

    def by_position(values: Floats, ahead: int) -> Floats:
        """Shape (pages, POSITIONS): `values` of the accepted tokens, each counted `ahead` positions further on."""
        summed = np.bincount(layout.place + ahead, values, pages * WIDE + ahead)[: pages * WIDE]
        return summed.reshape(pages, WIDE)[:, :POSITIONS].astype(np.float64)

    exact = np.bincount(layout.pod, minlength=pages + 1)[:pages] > 0
    drafts: Floats = np.where(layout.drafting > 0, flat[:, 3], 0.0)
    passed: Floats = np.bincount(layout.owner, accepted, layout.drafting.size).astype(np.float64)
    yielded = passed + np.where(layout.drafting > 0, flat[:, 3], flat[:, 2])
    decode = ~layout.mixed
    summed = by_page(
        drafts,
        drafts * layout.drafting,
        flat[:, 0] * layout.mixed,
        flat[:, 1] * layout.mixed,
        flat[:, 4] * layout.mixed,
        yielded * decode,
        flat[:, 5] * decode,
        np.where(layout.drafting > 1, drafts, 0.0),
    )
    trials = by_position(np.where(layout.onward, accepted, 0.0), 1)
    twice = by_position(np.where(layout.further, accepted, 0.0), 2)
    trials[:, 0] = twice[:, 0] = summed[:, 0]
    twice[:, 1] = summed[:, 7]
    found = totals.copy()
    found[:, [DRAFTS, DRAFT_TOKENS, *EXACT_ONLY]] = summed[:, :7]
    found[:, SCALARS:] = np.concatenate((trials, by_position(accepted, 0), twice), axis=1)
    totals[exact] = found[exact]


def merged(intervals: Sequence[Interval]) -> tuple[Interval, ...]:
    """The intervals of several pods as one of exact and one of stock counters, where there are any."""
    groups = ([i for i in intervals if i.exact], [i for i in intervals if not i.exact])
    return (*((_sum(groups[0]),) if groups[0] else ()), *groups[1])


def _sum(intervals: Sequence[Interval]) -> Interval:
    if len(intervals) == 1:
        return intervals[0]
    place = np.concatenate([i.keys for i in intervals])
    found = np.concatenate([i.cells for i in intervals])
    keys = np.flatnonzero(np.bincount(place, minlength=1))
    summed = [np.bincount(place, column, minlength=1)[keys] for column in found.T]
    first = intervals[0]
    alike = [i for i in intervals if (i.lengths, i.bounds) == (first.lengths, first.bounds)]
    return Interval(
        sum(i.seconds for i in intervals),
        True,
        keys.astype(np.int16),
        np.stack(summed, axis=1).astype(np.float64),
        reduce(np.add, [i.totals for i in intervals]),
        reduce(np.add, [i.histograms for i in alike]),
        first.lengths,
        first.bounds,
    )
