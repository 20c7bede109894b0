"""Changing K where only a restart can: decided on a full day, within the user's budget and windows, never in a chase.

A restart may also change the start value. The engine then drafts a shorter block, which is cheaper; how much cheaper is
the prior's word, because nothing of it can be measured before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from specdec.api.schedule import Schedule
from specdec.tuning import acceptance, candidates, constraints, gains, guards, trials
from specdec.tuning.candidates import Outlook
from specdec.tuning.decisions import NO_GAIN, Decision, Hold, Kind, Reason
from specdec.tuning.limits import Limits
from specdec.tuning.prior import CostTable
from specdec.tuning.state import State
from specdec.tuning.trials import Promise

Floats = NDArray[np.float64]

ONE_SIDED_90: Final = 1.2816
SIGHT: Final = 0.002  # log units of time per token
BLOCK_DOUBT: Final = 0.3  # share of what a shorter block is said to save that may be wrong


@dataclass(frozen=True, slots=True)
class Plan:
    """A start value and its schedule."""

    start_k: int
    schedule: Schedule


def recommend(state: State, limits: Limits, now: float) -> Decision | Hold:
    """A restart with a better start value and start-up schedule, or why not."""
    hold = guards.first_objection(guards.BEFORE_A_RESTART, state, limits, now)
    if hold is not None:
        return hold
    answer = _recommended(state, limits, now)
    waits = guards.quieter_hour_comes(state, limits, now) if isinstance(answer, Decision) else None
    return answer if waits is None or isinstance(answer, Hold) else replace(waits, proposal=answer)


def _recommended(state: State, limits: Limits, now: float) -> Decision | Hold:
    seen = candidates.outlook(state, patient=True)
    found = forecast(state, limits, seen)
    gained, schedule, start = found.gain, found.schedule, found.start_k
    sure = 100.0 * float(np.expm1(found.mean - ONE_SIDED_90 * found.sd))
    in_force = candidates.table_of(state.in_force, seen.log_tpot.shape[1])
    missed = constraints.nearest_miss(state, limits, seen, in_force)
    if missed is not None and gained.mean_percent < limits.min_gain_percent:
        return Hold(Reason.CONSTRAINT_AT_RISK, missed, now)
    if limits.trial_possible:
        return trials.proposed(state, limits, found, now)
    message = f"{gained.mean_percent:+.1f} % tokens per second expected, {sure:+.1f} % sure"
    needed = limits.min_gain_percent + limits.restart_cost_percent
    if sure < needed:
        return Hold(Reason.GAIN_TOO_SMALL, f"{message}; {needed:.1f} % needed", now)
    if limits.replicas == 1:
        message += "; not tried first, since there is no second replica to compare with"
    return Decision(Kind.RESTART, schedule, gained, Reason.BETTER_START_VALUE, message, now, start_k=start)


def forecast(state: State, limits: Limits, seen: Outlook) -> Promise:
    """The best restart that `limits` allow, by what the usual week brings, or the last day where no week was seen yet.
    seen: the patient outlook.
    """
    usual = state.season.load()
    load = state.day_load if usual is None else usual
    plan = best_plan(state, limits, seen, load)
    ks, size = seen.log_tpot.shape
    before, after = candidates.table_of(state.in_force, size), candidates.table_of(plan.schedule, size)
    regime = gains.Regime(_saved(state.prior.costs, size, ks, state.start_k, plan.start_k), BLOCK_DOUBT)
    gained = gains.gain(seen, before, after, load, regime)
    mean, sd = gains.assurance(seen, before, after, load, regime)
    return Promise(plan.start_k, plan.schedule, gained, mean, sd)


def to_minimum(state: State, limits: Limits, least: Schedule, found: str, now: float) -> Decision | Hold:
    """Restart at the smallest K when the drafter is broken and nothing can be changed live."""
    hold = guards.first_objection(guards.BEFORE_AN_URGENT_RESTART, state, limits, now)
    if hold is not None:
        return Hold(Reason.BROKEN_DRAFTER, f"{found}; {hold.message}", hold.since)
    return Decision(Kind.RESTART, least, NO_GAIN, Reason.BROKEN_DRAFTER, found, now, start_k=max(least.ks))


def begun(state: State, decision: Decision, now: float) -> State:
    """`state` after the pods were told to restart."""
    start = min(decision.start_k or state.start_k, state.environment.start_k)
    return replace(state, restarted_at=now, start_k=start, canary=None)


def first_schedule(state: State, limits: Limits) -> Schedule:
    """A start-up schedule from the prior alone, for pods that have yet to start; its largest K is the start value.

    No load is known: every batch size counts alike on a logarithmic scale. Nor is the drafter: what is least is the
    expected regret over drafters better and worse than the prior. A longer block may cost SIGHT more a position,
    because positions beyond the start value stay unseen until a restart, which needs them to be decided.
    """
    seen = candidates.outlook(state)
    length = acceptance.expected_log_length(state.acceptance, seen.log_ms.shape[0] - 1, state.k_in_use)
    seen = replace(seen, log_tpot=seen.log_ms - length[:, None])
    load = np.zeros_like(state.day_load)
    nodes = seen.grid.nodes[np.linspace(0, seen.grid.nodes.size - 1, load.shape[0]).astype(int)]
    load[:, 0], load[:, 1] = 1.0, nodes
    return best_plan(state, limits, seen, load, SIGHT).schedule


def best_plan(state: State, limits: Limits, seen: Outlook, load: Floats, sight: float = -candidates.TIE) -> Plan:
    """The start value and tiers of least time per token under `load`.

    sight: log units that one more position may cost. Below 0 near ties go to the smaller start value.
    """
    size = seen.log_tpot.shape[1]
    weight = candidates.weight_by_batch(load, size)
    best: tuple[float, Plan] | None = None
    for start in range(max(limits.min_k, 1), min(limits.max_k, state.environment.start_k) + 1):
        log_tpot = seen.log_tpot - _saved(state.prior.costs, size, seen.log_tpot.shape[0], state.start_k, start)
        inside = candidates.allowed(limits, start, seen.grid)
        inside = constraints.within_targets(inside, seen, limits, state, candidates.table_of(state.in_force, size))
        schedule = candidates.tiers(log_tpot, inside, seen.grid, weight, limits.most_tiers)
        cost = candidates.mean_cost(log_tpot, candidates.table_of(schedule, size), weight)
        if best is None or cost < best[0] + sight:
            best = (cost, Plan(max(schedule.ks), schedule))
    if best is None:
        raise ValueError(f"no start value lies in {limits.min_k}..{limits.max_k}")
    return best[1]


@lru_cache(maxsize=256)
def _saved(costs: CostTable, size: int, ks: int, old_start: int, new_start: int) -> Floats:
    """Shape (K + 1, B): log step time saved by starting at `new_start` instead of `old_start`, by the prior."""
    batches = np.arange(1.0, size + 1)

    def log_ms(start: int) -> Floats:
        return np.log([costs.step_ms(min(k, start), batches, start_k=start) for k in range(ks)])

    both = np.arange(ks)[:, None] <= min(old_start, new_start)
    return np.where(both, log_ms(old_start) - log_ms(new_start), 0.0)
