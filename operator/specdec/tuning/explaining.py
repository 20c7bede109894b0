"""Why the tuner does what it does: what `recommend` would answer, with all that it rests on."""

from __future__ import annotations

from typing import Final

import numpy as np

from specdec.tuning import candidates, guards
from specdec.tuning.decisions import TWO_SIDED_90, Gain, Hold
from specdec.tuning.limits import Limits, Switching
from specdec.tuning.recommending import recommend
from specdec.tuning.samples import BATCH_BUCKET_ENDS
from specdec.tuning.state import State
from specdec.tuning.summary import summarise
from specdec.tuning.telling import Candidate, Evidence, Explanation

LEAST_STEPS: Final = 20.0


def explain(state: State, limits: Limits, now: float) -> Explanation:
    """What `recommend` would answer now, and all that it rests on."""
    seen = candidates.outlook(state)
    size = seen.log_tpot.shape[1]
    shares = _shares(state, size)
    inside = candidates.allowed(limits, state.start_k, state.grid)
    table = candidates.table_of(state.in_force, size)
    rows = tuple(
        _candidate(state, seen, (batch, k), int(table[batch - 1]), allowed=bool(inside[k, batch - 1]) or k == 0)
        for batch, _ in shares
        for k in range(0 if state.off else 1, state.start_k + 1)
    )
    return Explanation(
        summarise(state, limits),
        recommend(state, limits, now, 0.5),
        shares,
        rows,
        _guards(state, limits, now),
        _evidence(state, now),
        _lengths(state, seen),
        now,
    )


def _guards(state: State, limits: Limits, now: float) -> tuple[Hold, ...]:
    last = guards.BEFORE_A_RESTART if limits.switching is Switching.RESTART else guards.BEFORE_A_LIVE_MOVE
    checks = (*guards.BEFORE_ANYTHING, *guards.BEFORE_A_MOVE, *last)
    return tuple(hold for check in checks if (hold := check(state, limits, now)) is not None)


def _evidence(state: State, now: float) -> Evidence:
    newest = max((pod.at for pod in state.pods.values()), default=None)
    age = None if newest is None else max(now - newest, 0.0)
    return Evidence(len(state.pods), age, state.recent.drafts, float(state.tried_steps.sum()))


def _lengths(state: State, seen: candidates.Outlook) -> tuple[tuple[int, float, float, float], ...]:
    mean = seen.acceptance.log_length[: state.start_k + 1]
    width = TWO_SIDED_90 * np.sqrt(seen.length_covariance.diagonal()[: state.start_k + 1])
    rows = zip(np.exp(mean).tolist(), np.exp(mean - width).tolist(), np.exp(mean + width).tolist(), strict=True)
    return tuple((k, *row) for k, row in enumerate(rows))[1:]


def _shares(state: State, size: int) -> tuple[tuple[int, float], ...]:
    # a state that comes from a checkpoint remembers the day, not the last minutes
    load = state.load if state.load[:, 0].sum() > 0 else state.day_load
    total = load[:, 0].sum()
    used = np.flatnonzero(load[:, 0] > 0.01 * total) if total > 0 else np.zeros(0, dtype=int)
    batches = [int(np.clip(round(load[b, 1] / load[b, 0]), 1, size)) for b in used]
    return tuple((batch, float(load[b, 0] / total)) for batch, b in zip(batches, used, strict=True))


def _candidate(state: State, seen: candidates.Outlook, at: tuple[int, int], now_k: int, *, allowed: bool) -> Candidate:
    batch, k = at
    row = batch - 1
    difference = float(seen.log_tpot[now_k, row] - seen.log_tpot[k, row])
    sd = float(seen.contrast_sd(np.array([now_k]), np.array([k]), np.array([batch]))[0])
    tpot = float(np.exp(seen.log_tpot[k, row]))
    return Candidate(
        batch=batch,
        k=k,
        step_ms=float(np.exp(seen.log_ms[k, row])),
        accepted_length=float(np.exp(seen.acceptance.log_length[k])),
        tpot_ms=tpot,
        tokens_per_second=1000.0 * batch / tpot,
        gain=Gain.of_logs(difference, TWO_SIDED_90 * sd),
        allowed=allowed,
        in_force=k == now_k,
        measured=bool(state.tried_steps[k, np.searchsorted(BATCH_BUCKET_ENDS, batch)] > LEAST_STEPS),
    )
