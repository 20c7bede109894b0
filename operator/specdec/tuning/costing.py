"""Intervals -> measured steps: what the step-time surface learns from, with exact counters or without."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from specdec.tuning.surface import INTERVAL_SD, PODS, Ints, Steps
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


def slots_for(slots: Mapping[str, int], pods: Mapping[str, Snapshot]) -> dict[str, int]:
    """Pods keep their slots while they are seen; newcomers get the others, by name. A silent pod yields its own."""
    newest = max((pod.at for pod in pods.values()), default=0.0)
    silent = {name for name, pod in pods.items() if newest - pod.at > SILENT_SECONDS}
    chosen = sorted(pods, key=lambda name: (name in silent, name not in slots, name))[:PODS]
    kept = {name: slots[name] for name in chosen if name in slots}
    free = [slot for slot in range(PODS) if slot not in kept.values()]
    newcomers = [name for name in chosen if name not in kept]
    return kept | dict(zip(newcomers, free, strict=False))


def measured(intervals: Mapping[str, Interval], slots: Mapping[str, int], start_k: int, in_force: Ints) -> Steps | None:
    """Steps of all pods that have a slot, or None when there were too few. in_force: shape (B,), K by batch - 1."""
    rows: list[tuple[float, ...]] = []
    for name, slot in sorted(slots.items(), key=lambda item: item[1]):
        interval = intervals.get(name)
        if interval is None:
            continue
        rows += _exact(interval, slot, start_k) if interval.exact else _stock(interval, slot, start_k, in_force)
    if not rows:
        return None
    slot_, k, batch, seconds, steps, prefill, noise = np.array(rows).T
    return Steps(slot_.astype(np.int64), k, batch, seconds, steps, prefill, noise)


def _exact(interval: Interval, slot: int, start_k: int) -> list[tuple[float, ...]]:
    ks = interval.keys // 2 // BUCKETS
    usable = (interval.cells[:, 0] >= LEAST_CELL_STEPS) & (ks <= start_k) & (interval.cells[:, 2] > 0)
    usable &= interval.cells[:, 1] > 0
    return [
        (slot, float(k), requests / steps, seconds / steps, steps, prompts / steps, INTERVAL_SD**2)
        for k, (steps, seconds, requests, prompts) in zip(
            ks[usable].tolist(), interval.cells[usable].tolist(), strict=True
        )
    ]


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
