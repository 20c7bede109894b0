"""What status, metrics and `kubectl get` show of the tuner's state. None means not known, never zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from specdec.api.schedule import Schedule, constant
from specdec.tuning import acceptance, candidates, gains, restarts
from specdec.tuning.decisions import NO_GAIN, Gain, Move
from specdec.tuning.histograms import quantile
from specdec.tuning.limits import Limits, Switching
from specdec.tuning.pairs import Pairs
from specdec.tuning.state import State

Floats = NDArray[np.float64]

LEAST_SECONDS: Final = 1.0  # of recent pod time, below which a rate would be made of nothing


@dataclass(frozen=True, slots=True)
class Summary:
    """Figures of the last minute or two, over all pods of the resource.

    acceptance: probability that the first i + 1 tokens are all accepted, shape (start_k,), estimated (positions beyond
    the K in force are inferred). mean_accepted_length: 1 + accepted / drafts. drafts: ever seen.
    effective_k: draft tokens per draft, measured. batch: mean requests per step of one pod. seconds everywhere.
    gain_over_untuned: of the schedule in force over a constant start K, at today's load, with its 90 % interval.
    confidence: 0..1, share of the request time at whose batch sizes the step cost is known to 2 % beside that of
    the best other K.
    pairs: what the switchback has shown, where one is asked for and has begun.
    """

    schedule: Schedule
    start_k: int
    acceptance: tuple[float, ...]
    mean_accepted_length: float | None
    drafts: float
    tokens_per_second: float | None
    tpot_p95_seconds: float | None
    ttft_p95_seconds: float | None
    itl_p95_seconds: float | None
    batch: float | None
    effective_k: float | None
    gain_over_untuned: Gain | None
    recommended: Schedule | None
    recommended_gain: Gain | None
    confidence: float
    moves: tuple[Move, ...]
    exact_counters: bool
    pairs: Pairs | None


def summarise(state: State, limits: Limits) -> Summary:
    """A Summary of `state`; `limits` bound the recommended schedule."""
    recent, accepted = state.recent, acceptance.estimate(state.acceptance, state.environment.start_k, state.k_in_use)
    known = recent.drafts >= 1
    percentile = [quantile(c, b, 0.95) for c, b in zip(recent.latency, recent.bounds, strict=True)]
    gains = _gains(state, limits) if state.day_load[:, 0].sum() > 0 else None
    return Summary(
        schedule=state.in_force,
        start_k=state.start_k,
        acceptance=tuple(float(p) for p in accepted.cumulative[: state.start_k]),
        mean_accepted_length=1.0 + recent.accepted / recent.drafts if known else None,
        drafts=state.seen_drafts,
        tokens_per_second=_tokens_per_second(state),
        tpot_p95_seconds=percentile[0],
        ttft_p95_seconds=percentile[1],
        itl_p95_seconds=percentile[2],
        batch=recent.request_seconds / recent.step_seconds if recent.step_seconds > 0 else None,
        effective_k=recent.draft_tokens / recent.drafts if known else None,
        gain_over_untuned=gains[0] if gains else None,
        recommended=gains[1] if gains else None,
        recommended_gain=gains[2] if gains else None,
        confidence=_confidence(state),
        moves=state.moves,
        exact_counters=any(pod.exact for pod in state.pods.values()),
        pairs=state.pairs if limits.switchback_share > 0 else None,
    )


def _tokens_per_second(state: State) -> float | None:
    """Of all pods that the last round showed; None when nothing recent was seen of them."""
    recent = state.recent
    if state.last_at is None or recent.seconds < LEAST_SECONDS:
        return None
    return recent.generated / recent.seconds * state.serving if state.serving else None


def _gains(state: State, limits: Limits) -> tuple[Gain, Schedule, Gain]:
    seen = candidates.outlook(state)
    size = seen.log_tpot.shape[1]
    untuned = candidates.table_of(constant(state.environment.start_k, size), size)
    now = candidates.table_of(state.in_force, size)
    over_untuned = gains.gain(seen, untuned, now, state.day_load)
    if limits.switching is Switching.RESTART:
        return over_untuned, *_by_restart(state, limits)
    inside = candidates.allowed(limits, state.start_k, state.grid)
    margin = limits.live_margin_percent / 100
    if state.exact:
        best = candidates.better_table(seen, inside, now, state.day_load, candidates.Doubt(1.28, 1.28, margin))
    else:
        best = candidates.plain_table(seen, inside, now, state.day_load, margin)
    better = gains.gain(seen, now, best, state.day_load)
    if state.off and better.mean_percent <= 0:  # off is in no table
        return over_untuned, state.in_force, NO_GAIN
    return over_untuned, candidates.as_schedule(best), better


def _by_restart(state: State, limits: Limits) -> tuple[Schedule, Gain]:
    """What one replica would try, were a restart allowed now; what is in force where too little is known to try it."""
    found = restarts.forecast(state, limits, candidates.outlook(state, patient=True))
    return (found.schedule, found.gain) if found.likely else (state.in_force, NO_GAIN)


def _confidence(state: State) -> float:
    total = state.day_load[:, 0].sum()
    if total <= 0:
        return 0.0
    used = np.flatnonzero(state.day_load[:, 0] > 0)
    batch = np.clip(np.round(state.day_load[used, 1] / state.day_load[used, 0]), 1, state.grid.batches.size)
    node = np.searchsorted(state.grid.nodes, batch).clip(0, state.grid.nodes.size - 1)
    rows = batch.astype(int) - 1
    k = candidates.table_of(state.in_force, state.grid.batches.size)[rows]
    rival = candidates.rivals(candidates.outlook(state), k, rows)
    cost = state.surface.covariance
    variance = cost[node, k, k] + cost[node, rival, rival] - 2 * cost[node, k, rival]
    known = np.sqrt(np.maximum(variance, 0.0)) < 0.02
    return float(state.day_load[used, 0][known].sum() / total)
