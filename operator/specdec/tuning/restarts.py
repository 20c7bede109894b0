"""Changing K where only a restart can: decided on a full day, within the user's budget and windows."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from specdec.api.schedule import Schedule
from specdec.tuning import candidates, guards
from specdec.tuning.decisions import Decision, Hold, Kind, Reason
from specdec.tuning.limits import Limits
from specdec.tuning.state import State

MOST_TIERS: Final = 4
HORIZON_SECONDS: Final = 7 * 86_400.0


def recommend(state: State, limits: Limits, now: float) -> Decision | Hold:
    """A restart with a better start-up schedule, or why not."""
    hold = guards.first_objection(guards.BEFORE_A_RESTART, state, limits, now)
    if hold is not None:
        return hold
    seen = candidates.outlook(state)
    size = seen.log_tpot.shape[1]
    inside = candidates.allowed(limits, state.start_k, size)
    better = candidates.tiers(seen, inside, state.day_load, MOST_TIERS)
    before = candidates.table_of(state.in_force, size)
    gained = candidates.gain(seen, before, candidates.table_of(better, size), state.day_load)
    message = f"{gained.mean_percent:+.1f} % tokens per second expected over a day, {gained.lower_percent:+.1f} % sure"
    start_k = max(better.ks)
    proposal = Decision(Kind.RESTART, better, gained, Reason.BETTER_START_VALUE, message, now, start_k=start_k)
    if gained.lower_percent < limits.min_gain_percent + _move_cost_percent(limits):
        return Hold(Reason.GAIN_TOO_SMALL, f"{message}; {limits.min_gain_percent:g} % needed", now, proposal)
    return proposal


def begun(state: State, decision: Decision, now: float) -> State:
    """`state` after the pods were told to restart."""
    return replace(state, restarted_at=now, start_k=min(decision.start_k or state.start_k, state.environment.start_k))


def first_schedule(state: State, limits: Limits) -> Schedule:
    """The prior's tiers with no load known: every batch size counts alike, on a logarithmic scale."""
    seen = candidates.outlook(state)
    inside = candidates.allowed(limits, state.start_k, seen.log_tpot.shape[1])
    buckets = np.zeros_like(state.day_load)
    nodes = seen.grid.nodes[np.linspace(0, seen.grid.nodes.size - 1, buckets.shape[0]).astype(int)]
    buckets[:, 0], buckets[:, 1] = 1.0, nodes
    return candidates.tiers(seen, inside, buckets, MOST_TIERS)


def _move_cost_percent(limits: Limits) -> float:
    """Share of the fleet's capacity over the horizon that rolling all pods once costs, percent."""
    rounds = -(-limits.replicas // max(limits.max_unavailable, 1))
    lost = min(limits.max_unavailable / max(limits.replicas, 1), 1.0) * rounds * limits.restart_seconds
    return 100.0 * lost / HORIZON_SECONDS
