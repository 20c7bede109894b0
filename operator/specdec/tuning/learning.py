"""Short trials of a neighbouring K, only where knowing its cost could change the schedule."""

from __future__ import annotations

from dataclasses import replace
from math import erf, exp, pi, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from specdec.api.schedule import Schedule
from specdec.tuning import candidates
from specdec.tuning.candidates import Ints, Outlook
from specdec.tuning.decisions import Decision, Gain, Kind, Reason
from specdec.tuning.samples import BATCH_BUCKET_ENDS
from specdec.tuning.state import State, Trial

TRIAL_SECONDS: Final = 30.0
AGAIN_AFTER_SECONDS: Final = 6 * 3600.0
LEAST_SHARE: Final = 0.05  # of request time that a batch bucket must have to be worth a trial
WORTH_LOG: Final = 0.0008  # expected improvement, log units, that is worth a trial
DEAREST_LOG: Final = 0.04  # a K expected to be worse than this is not tried


def worthwhile(
    state: State, seen: Outlook, inside: NDArray[np.bool_], table: Ints, now: float, *, chance: float
) -> Decision | None:
    """The trial that promises most, or None. `chance` breaks ties between equally promising ones."""
    best: tuple[float, int, int] | None = None
    for bucket, batch in _busy_buckets(state, table.size):
        for k in _neighbours(int(table[batch - 1]), inside[:, batch - 1]):
            if now - state.tried.get(_tag(k, bucket), -np.inf) < AGAIN_AFTER_SECONDS:
                continue
            promise = _expected_improvement(seen, int(table[batch - 1]), k, batch)
            if promise > WORTH_LOG and (best is None or promise * (1 + 1e-3 * chance) > best[0]):
                best = (promise, bucket, k)
    return None if best is None else _trial(seen, table, best[1], best[2], now)


def begun(state: State, decision: Decision, back_to: Schedule, now: float) -> State:
    """`state` while the trial runs."""
    until = now + (decision.trial_seconds or TRIAL_SECONDS)
    size = state.grid.batches.size
    tried = dict(state.tried)
    before, after = candidates.table_of(back_to, size), candidates.table_of(decision.schedule, size)
    for batch in np.flatnonzero(before != after) + 1:
        tried[_tag(int(after[batch - 1]), int(np.searchsorted(BATCH_BUCKET_ENDS, batch)))] = now
    return replace(state, trial=Trial(until, back_to), tried=tried)


def _busy_buckets(state: State, size: int) -> list[tuple[int, int]]:
    total = state.load[:, 0].sum()
    if total <= 0:
        return []
    used = np.flatnonzero(state.load[:, 0] > LEAST_SHARE * total)
    batches = np.clip(np.round(state.load[used, 1] / state.load[used, 0]), 1, size).astype(int)
    return list(zip(used.tolist(), batches.tolist(), strict=True))


def _neighbours(k: int, inside: NDArray[np.bool_]) -> list[int]:
    return [other for other in (k - 1, k + 1) if 1 <= other < inside.size and inside[other]]


def _expected_improvement(seen: Outlook, k: int, other: int, batch: int) -> float:
    """Log units by which `other` is expected to win where it wins; 0 when its cost is known or it is far worse."""
    worse = float(seen.log_tpot[other, batch - 1] - seen.log_tpot[k, batch - 1])
    node = int(np.searchsorted(seen.grid.nodes, batch).clip(0, seen.grid.nodes.size - 1))
    cost = seen.surface.covariance[node]
    sd = sqrt(max(float(cost[k, k] + cost[other, other] - 2 * cost[k, other]), 0.0))
    if sd < 1e-4 or worse > DEAREST_LOG:
        return 0.0
    z = worse / sd
    return sd * exp(-z * z / 2) / sqrt(2 * pi) - worse * 0.5 * (1 - erf(z / sqrt(2)))


def _trial(seen: Outlook, table: Ints, bucket: int, k: int, now: float) -> Decision:
    first = 1 if bucket == 0 else BATCH_BUCKET_ENDS[bucket - 1] + 1
    last = min(BATCH_BUCKET_ENDS[bucket] if bucket < len(BATCH_BUCKET_ENDS) else table.size, table.size)
    after = table.copy()
    after[first - 1 : last] = k
    changed = np.arange(first, last + 1)
    change = float((seen.log_tpot[table[changed - 1], changed - 1] - seen.log_tpot[k, changed - 1]).mean())
    gain = Gain(100 * change, 100 * (change - 0.05), 100 * (change + 0.05))
    message = f"measure K = {k} at batch {first}..{last} for {TRIAL_SECONDS:.0f} s"
    schedule = candidates.as_schedule(after)
    return Decision(Kind.TRIAL, schedule, gain, Reason.LEARNING, message, now, trial_seconds=TRIAL_SECONDS)


def _tag(k: int, bucket: int) -> int:
    return k * 100 + bucket
