"""Short trials, only where knowing a cost could change the schedule by more than the trial costs."""

from __future__ import annotations

from dataclasses import replace
from math import erf, exp, pi, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from specdec.api.schedule import Schedule
from specdec.tuning import candidates, gains
from specdec.tuning.candidates import Ints, Outlook
from specdec.tuning.decisions import Decision, Kind, Reason
from specdec.tuning.samples import batches_of
from specdec.tuning.state import State, Trial

TRIAL_SECONDS: Final = 30.0
STOCK_TRIAL_SECONDS: Final = 60.0  # the intervals at both ends hold two schedules
AGAIN_AFTER_SECONDS: Final = 4 * 3600.0
AGAIN_SOON_SECONDS: Final = 240.0
AGAIN_SHARE: Final = 0.4  # of the time since the first sample
LEAST_SHARE: Final = 0.04  # of request time that a batch bucket must have to be worth a trial
WORTH_LOG: Final = 0.0004  # expected improvement, log units, that is worth a trial
REACH: Final = 2  # how far from the K in force a trial goes
DEAREST_LOG: Final = 0.03  # a K expected to be worse than this is not tried
FIRST_GAP_SECONDS: Final = 45.0
LAST_GAP_SECONDS: Final = 1800.0
GAP_SHARE: Final = 0.04  # of the time since the first sample that lies between trials


def promising(state: State, seen: Outlook, table: Ints, better: Ints, now: float) -> Decision | None:
    """Try `better`, which is expected to win but not surely, unless something was tried just now."""
    return fresh(state, seen, table, better, now) if now - state.tried_at >= FIRST_GAP_SECONDS else None


def fresh(state: State, seen: Outlook, table: Ints, better: Ints, now: float) -> Decision | None:
    """Try `better` unless it was tried of late."""
    new = any(
        better[batch - 1] != table[batch - 1] and not _tried(state, int(better[batch - 1]), bucket, now)
        for bucket, batch in _busy_buckets(state, table.size)
    )
    return _trial(state, seen, table, better, now) if new else None


def worthwhile(
    state: State, seen: Outlook, inside: NDArray[np.bool_], table: Ints, now: float, *, chance: float
) -> Decision | None:
    """The trial that promises most, or None: at each batch size in use the K that could win by most.

    `chance` thins out trials that are barely worth it.
    """
    if now - state.tried_at < _gap(state, now):
        return None
    total, promise, after = float(state.load[:, 0].sum()), 0.0, table.copy()
    for bucket, batch in _busy_buckets(state, table.size):
        now_k = int(table[batch - 1])
        options = [
            (_expected_improvement(seen, now_k, k, batch), k)
            for k in range(max(now_k - REACH, 1), min(now_k + REACH + 1, inside.shape[0]))
            if k != now_k and inside[k, batch - 1] and not _tried(state, k, bucket, now)
        ]
        improvement, k = max(options, default=(0.0, 0))
        if improvement > WORTH_LOG:
            promise += improvement * float(state.load[bucket, 0]) / total
            rows = np.array(batches_of(bucket, table.size)) - 1
            after[rows] = np.where(inside[k, rows], k, table[rows])
    if promise < WORTH_LOG * (0.5 + chance):
        return None
    return _trial(state, seen, table, after, now)


def shifted(state: State, seen: Outlook, inside: NDArray[np.bool_], table: Ints, now: float) -> Decision | None:
    """The whole table one or two K up or down, whichever promises most, or None.

    For stock counters: an interval in which K differs from batch to batch tells little.
    """
    if now - state.tried_at < _gap(state, now):
        return None
    busy, total = _busy_buckets(state, table.size), float(state.load[:, 0].sum())
    at, best = np.arange(table.size), (0.0, table)
    for by in (*range(-REACH, 0), *range(1, REACH + 1)):
        moved = np.clip(table + by, 1, inside.shape[0] - 1)
        after = np.where(inside[moved, at], moved, table)
        promise = sum(
            _expected_improvement(seen, int(table[batch - 1]), int(after[batch - 1]), batch)
            * float(state.load[bucket, 0] / total)
            for bucket, batch in busy
            if after[batch - 1] != table[batch - 1] and not _tried(state, int(after[batch - 1]), bucket, now)
        )
        if promise > best[0] and gains.assurance(seen, table, after, state.load)[0] > -DEAREST_LOG:
            best = (promise, after)
    return _trial(state, seen, table, best[1], now) if best[0] > WORTH_LOG else None


def begun(state: State, decision: Decision, back_to: Schedule, now: float) -> State:
    """`state` while the trial runs."""
    size = state.grid.batches.size
    tried = {tag: at for tag, at in state.tried.items() if now - at < AGAIN_AFTER_SECONDS}
    before, after = candidates.table_of(back_to, size), candidates.table_of(decision.schedule, size)
    moved = np.flatnonzero(before != after)
    buckets = candidates.bucket_of(size)[moved]
    tried |= {_tag(k, bucket): now for k, bucket in zip(after[moved].tolist(), buckets.tolist(), strict=True)}
    until = now + (decision.trial_seconds or TRIAL_SECONDS)
    return replace(state, trial=Trial(until, back_to), tried=tried, tried_at=now)


def ended(state: State, *, undecided: bool) -> State:
    """`state` after a trial. One that measured too little to decide does not count as tried."""
    if not undecided:
        return state
    return replace(state, tried={tag: at for tag, at in state.tried.items() if at != state.tried_at})


def before(state: State, inside: NDArray[np.bool_]) -> Ints:
    """What is in force but for a trial; the limits may have changed since one began. inside: shape (K + 1, B)."""
    if state.trial is None:
        return candidates.table_of(state.in_force, inside.shape[1])
    return candidates.nearest(candidates.table_of(state.trial.back_to, inside.shape[1]), inside)


def _gap(state: State, now: float) -> float:
    """Many trials while young, few when old: their number grows with the logarithm of the time."""
    age = now - (state.first_at if state.first_at is not None else now)
    return min(max(GAP_SHARE * age, FIRST_GAP_SECONDS), LAST_GAP_SECONDS)


def _busy_buckets(state: State, size: int) -> list[tuple[int, int]]:
    total = state.load[:, 0].sum()
    if total <= 0:
        return []
    used = np.flatnonzero(state.load[:, 0] > LEAST_SHARE * total)
    return list(zip(used.tolist(), candidates.mean_batches(state.load[used], size).tolist(), strict=True))


def _tried(state: State, k: int, bucket: int, now: float) -> bool:
    """Exact counters need one trial; what stock counters showed is noisy, so they try again, ever more rarely."""
    age = now - (state.first_at if state.first_at is not None else now)
    again = AGAIN_AFTER_SECONDS if state.exact else min(max(AGAIN_SHARE * age, AGAIN_SOON_SECONDS), AGAIN_AFTER_SECONDS)
    return now - state.tried.get(_tag(k, bucket), -np.inf) < again


def _expected_improvement(seen: Outlook, k: int, other: int, batch: int) -> float:
    """Log units by which `other` is expected to win where it wins; 0 when its cost is known or it is far worse."""
    worse = float(seen.log_tpot[other, batch - 1] - seen.log_tpot[k, batch - 1])
    if worse > DEAREST_LOG:
        return 0.0
    cost = seen.surface.covariance[seen.grid.node_of[batch - 1]]
    sd = sqrt(max(float(cost[k, k] + cost[other, other] - 2 * cost[k, other]), 0.0))
    if sd < 1e-4:
        return 0.0
    z = worse / sd
    return sd * exp(-z * z / 2) / sqrt(2 * pi) - worse * 0.5 * (1 - erf(z / sqrt(2)))


def _trial(state: State, seen: Outlook, table: Ints, after: Ints, now: float) -> Decision:
    gain = gains.gain(seen, table, after, state.load)
    seconds = TRIAL_SECONDS if state.exact else STOCK_TRIAL_SECONDS
    message = f"measure for {seconds:.0f} s what another K costs at the batch sizes in use"
    schedule = candidates.as_schedule(after)
    return Decision(Kind.TRIAL, schedule, gain, Reason.LEARNING, message, now, trial_seconds=seconds)


def _tag(k: int, bucket: int) -> int:
    return k * 100 + bucket
