"""Intervals -> measured steps: what the step-time surface learns from, with exact counters or without."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from specdec.tuning.surface import INTERVAL_SD, PODS, Steps
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

LEAST_STEPS: Final = 20.0
STOCK_SD: Final = 0.02  # averages over an interval in which batch and K moved


def slots_for(slots: Mapping[str, int], pods: Mapping[str, Snapshot]) -> dict[str, int]:
    """`slots` without pods that are gone, newcomers in the free ones, by name."""
    kept = {name: slot for name, slot in slots.items() if name in pods}
    free = [slot for slot in range(PODS) if slot not in kept.values()]
    newcomers = [name for name in sorted(pods) if name not in kept]
    return kept | dict(zip(newcomers, free, strict=False))


def measured(intervals: Mapping[str, Interval], slots: Mapping[str, int], start_k: int) -> Steps | None:
    """Steps of all pods that have a slot, or None when there were too few."""
    rows: list[tuple[float, ...]] = []
    exact = False
    for name, slot in sorted(slots.items(), key=lambda item: item[1]):
        interval = intervals.get(name)
        if interval is None:
            continue
        exact = exact or interval.exact
        rows += _exact(interval, slot, start_k) if interval.exact else _stock(interval, slot, start_k)
    if not rows:
        return None
    slot_, k, batch, seconds, steps, prefill = np.array(rows).T
    noise = INTERVAL_SD**2 if exact else STOCK_SD**2
    return Steps(slot_.astype(np.int64), k, batch, seconds, steps, prefill, noise)


def _exact(interval: Interval, slot: int, start_k: int) -> list[tuple[float, ...]]:
    ks = interval.keys // BUCKETS
    usable = (interval.cells[:, 0] >= LEAST_STEPS) & (ks <= start_k) & (interval.cells[:, 2] > 0)
    usable &= interval.cells[:, 1] > 0
    return [
        (slot, float(k), requests / steps, seconds / steps, steps, 0.0)
        for k, (steps, seconds, requests, _) in zip(ks[usable].tolist(), interval.cells[usable].tolist(), strict=True)
    ]


def _stock(interval: Interval, slot: int, start_k: int) -> list[tuple[float, ...]]:
    """One row for the whole interval: K is draft tokens per draft, the batch drafts per step."""
    totals = interval.totals
    drafts, steps, tokens = totals[DRAFTS], totals[STEPS], totals[ITL_COUNT]
    if drafts <= 0 or steps < LEAST_STEPS or tokens <= 0 or totals[ITL_SUM] <= 0:
        return []
    # weighted by requests, and by time where the engine never idled: the smaller is nearer to the plain mean
    k, seconds = totals[DRAFT_TOKENS] / drafts, min(totals[ITL_SUM] / tokens, interval.seconds / steps)
    if k > start_k + 0.01 or drafts < steps:
        return []
    return [(slot, float(k), float(drafts / steps), float(seconds), float(steps), float(totals[PROMPT] / steps))]
