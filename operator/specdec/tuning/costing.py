"""Intervals -> measured steps: what the step-time surface learns from, with exact counters or without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from specdec.tuning.surface import INTERVAL_SD, PODS, Floats, Ints, Steps
from specdec.tuning.window import (
    BUCKETS,
    DRAFT_TOKENS,
    DRAFTS,
    ITL_COUNT,
    ITL_SUM,
    PROMPT,
    STEPS,
    Interval,
    Snapshot,
)

SILENT_SECONDS: Final = 120.0
LEAST_STEPS: Final = 20.0
LEAST_CELL_STEPS: Final = 4.0  # a short interval's steps lie in several cells
STOCK_SD: Final = 0.035  # averages over an interval in which the batch moved
MIXED_K_SD: Final = 0.08  # the same where K moved too, per standard deviation of K
STRAY: Final = 1.5  # standard deviations of a Poisson batch that count as near


def slots_for(slots: Mapping[str, int], pods: Mapping[str, Snapshot]) -> Mapping[str, int]:
    """Pods keep their slots while they are seen; newcomers get the others, by name. A silent pod yields its own."""
    if slots.keys() == pods.keys():
        return slots
    newest = max((pod.at for pod in pods.values()), default=0.0)
    silent = {name for name, pod in pods.items() if newest - pod.at > SILENT_SECONDS}
    chosen = sorted(pods, key=lambda name: (name in silent, name not in slots, name))[:PODS]
    kept = {name: slots[name] for name in chosen if name in slots}
    free = [slot for slot in range(PODS) if slot not in kept.values()]
    newcomers = [name for name in chosen if name not in kept]
    return kept | dict(zip(newcomers, free, strict=False))


def measured(intervals: Mapping[str, Interval], slots: Mapping[str, int], start_k: int, in_force: Ints) -> Steps | None:
    """Steps of all pods that have a slot, or None when there were too few. in_force: shape (B,), K by batch - 1."""
    by_slot = sorted(slots, key=slots.__getitem__)
    seen = [(slots[name], intervals[name]) for name in by_slot if name in intervals]
    exact = [(slot, interval) for slot, interval in seen if interval.exact]
    stock = [row for slot, found in seen if not found.exact for row in _stock(found, slot, start_k, in_force)]
    rows = np.concatenate((_exact(exact, start_k), np.array(stock).reshape(-1, 7)))
    if not len(rows):
        return None
    slot_, k, batch, seconds, steps, prefill, noise = rows.T
    return Steps(slot_.astype(np.int64), k, batch, seconds, steps, prefill, noise)


def _exact(seen: Sequence[tuple[int, Interval]], start_k: int) -> Floats:
    """Shape (n, 7), a row per cell. seen: pods' intervals with their slots."""
    if not seen:
        return np.zeros((0, 7))
    cells = np.concatenate([interval.cells for _, interval in seen])
    ks = np.concatenate([interval.keys for _, interval in seen]) // (2 * BUCKETS)
    slot = np.repeat([slot for slot, _ in seen], [len(interval.cells) for _, interval in seen])
    usable = (cells[:, 0] >= LEAST_CELL_STEPS) & (ks <= start_k) & (cells[:, 2] > 0) & (cells[:, 1] > 0)
    steps, seconds, requests, prompts = cells[usable].T
    noise = np.full(steps.size, INTERVAL_SD**2)
    return np.stack(
        (slot[usable], ks[usable], requests / steps, seconds / steps, steps, prompts / steps, noise), axis=1
    )


def _stock(interval: Interval, slot: int, start_k: int, in_force: Ints) -> list[tuple[float, ...]]:
    """One row for the whole interval: K is draft tokens per draft, the batch drafts per step."""
    totals = interval.totals
    drafts, steps, tokens = totals[DRAFTS], totals[STEPS], totals[ITL_COUNT]
    if drafts <= 0 or steps < LEAST_STEPS or tokens <= 0 or totals[ITL_SUM] <= 0:
        return []
    # weighted by requests, and by time where the engine never idled: the smaller is nearer to the plain mean
    k, seconds = float(totals[DRAFT_TOKENS] / drafts), min(totals[ITL_SUM] / tokens, interval.seconds / steps)
    if k > start_k + 0.01 or drafts < steps:
        return []
    batch = float(drafts / steps)
    noise = STOCK_SD**2 + MIXED_K_SD**2 * _mixture(k, batch, in_force)
    return [(slot, k, batch, float(seconds), float(steps), float(totals[PROMPT] / steps), noise)]


def _mixture(k: float, batch: float, in_force: Ints) -> float:
    """Variance of K within an interval: what a fractional mean gives away, and what the schedule says around `batch`.

    Steps of a lower K ran at another batch than those of a higher one, which the means over the interval hide.
    """
    away = k - round(k)
    reach = STRAY * batch**0.5
    near = in_force[max(int(batch - reach) - 1, 0) : int(batch + reach) + 1]
    return away * away + (float(near.var()) if near.size else 0.0)
