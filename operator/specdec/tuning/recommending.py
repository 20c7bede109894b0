"""State and limits -> one decision or a hold. The order of `_moves` is the order of urgency."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from specdec.api.schedule import Schedule
from specdec.tuning import (
    candidates,
    clock,
    constraints,
    drafter,
    gains,
    guards,
    learning,
    restarts,
    switchback,
    trials,
    verdicts,
)
from specdec.tuning.candidates import Doubt, Ints, Outlook
from specdec.tuning.decisions import NO_GAIN, Decision, Hold, Kind, Reason
from specdec.tuning.limits import Limits, Mode, Switching
from specdec.tuning.state import State, Trial

ACT: Final = 1.28  # standard deviations above zero that a gain must lie: 90 % sure
AFTER_TRIAL: Final = 0.84  # 80 %: the trial has just shown it
LONGEST_TRIAL: Final = 4.0  # times its length that a trial may last while it promises a gain
ELSEWHERE_DOUBT: Final = 1.28  # where no request is now, only what is 90 % sure by itself


def recommend(state: State, limits: Limits, now: float, chance: float) -> Decision | Hold:
    """What to do now.

    chance: uniform in [0, 1), drawn by the caller; it picks among trials that are equally worth while.
    In mode Recommend the decision comes as the proposal of a hold, unless it ends what another mode has begun. The
    state changes only by `acted`.
    """
    hold = guards.first_objection(guards.BEFORE_ANYTHING, state, limits, now)
    if hold is not None:
        return hold
    if limits.mode is Mode.RECOMMEND and (ended := _left_over(state, limits, "mode is Recommend", now)) is not None:
        return ended
    answer = _answer(state, limits, now, chance)
    if isinstance(answer, Decision) and answer.kind is Kind.ENABLE and drafter.why_off(state) is Reason.NO_K_PAYS:
        # off was right for the load of that moment alone; no mode keeps it for good
        return answer
    if limits.mode is Mode.RECOMMEND and isinstance(answer, Decision):
        return Hold(Reason.RECOMMEND_ONLY, f"would act: {answer.message}", now, answer)
    return answer


def prepared(state: State, limits: Limits, now: float, chance: float) -> State:
    """`state` with what follows from `limits`, before a round of scrapes is observed. chance: uniform in [0, 1)."""
    return switchback.kept_up(drafter.watched(clock.followed(state, now), limits, now), limits, now, chance)


def _answer(state: State, limits: Limits, now: float, chance: float) -> Decision | Hold:
    if state.canary is not None:
        return trials.recommend(state, state.canary, limits, now)
    urgent = _forced(state, limits, now) or switchback.untuned_time(state, limits, now)
    if urgent is not None:
        return urgent
    hold = guards.first_objection(guards.BEFORE_A_MOVE, state, limits, now)
    if hold is not None:
        overdue = state.trial is not None and now >= _latest_end(state, state.trial)
        return (_left_over(state, limits, hold.message, now) if overdue else None) or hold
    settled = drafter.recommend(state, limits, now) or switchback.refuted(state, limits, now)
    if settled is not None:
        return settled
    if limits.switching is Switching.RESTART:
        return restarts.recommend(state, limits, now)
    return _live(state, limits, now, chance)


def _live(state: State, limits: Limits, now: float, chance: float) -> Decision | Hold:
    hold = guards.first_objection(guards.BEFORE_A_LIVE_MOVE, state, limits, now) if state.trial is None else None
    if hold is not None:
        return hold
    seen = candidates.outlook(state)
    inside = candidates.allowed(limits, state.start_k, state.grid)
    base = learning.before(state, inside)
    inside = constraints.within_targets(inside, seen, limits, state, base)
    margin = limits.live_margin_percent / 100
    if state.exact:
        table = candidates.better_table(seen, inside, base, state.load, Doubt(0.3, ELSEWHERE_DOUBT, margin))
    else:
        table = candidates.plain_table(seen, inside, base, state.load, margin)
    mean, sd = gains.assurance(seen, base, table, state.load)
    runs = state.trial is not None and now < state.trial.until
    sure = mean > margin and mean > sd * (AFTER_TRIAL if state.trial is not None and not runs else ACT)
    if state.trial is not None and runs:
        overtaken = mean > margin and _overtaken(state, seen, table)
        if not (overtaken and sure):
            other = learning.fresh(state, seen, base, table, now) if overtaken else None
            return other or _trial_runs(state, state.trial, now)
    if sure:
        gained = gains.gain(seen, base, table, state.load)
        interval = f"{gained.lower_percent:+.1f} to {gained.upper_percent:+.1f}"
        message = f"{gained.mean_percent:+.1f} % tokens per second expected (90 %: {interval})"
        return Decision(Kind.LIVE, candidates.as_schedule(table), gained, Reason.BETTER_SCHEDULE, message, now)
    if constraints.broken(state, inside, base):
        return _within_targets(state, seen, base, table, now)
    if state.trial is not None:
        longer = _trial_goes_on(state, state.trial, now) if mean > margin else None
        return longer or _trial_ended(seen, base, table, state, now)
    return (
        verdicts.take_back(state, inside, now)
        or switchback.compared(state)
        or (learning.promising(state, seen, base, table, now) if mean > margin else None)
        or (
            learning.worthwhile(state, seen, inside, base, now, chance=chance)
            if state.exact
            else learning.shifted(state, seen, inside, base, now)
        )
        or switchback.begin(state, limits, seen, base, now, chance=chance)
        or _nothing_better(state, mean, constraints.nearest_miss(state, limits, seen, base), now)
    )


def _trial_runs(state: State, trial: Trial, now: float) -> Hold:
    return Hold(Reason.TRIAL_RUNNING, f"a trial runs for {trial.until - now:.0f} s more", state.changed_at)


def _overtaken(state: State, seen: Outlook, table: Ints) -> bool:
    """Whether `table` is expected to beat what is tried by more than a trial may cost: the traffic has become another,
    and whether the schedule on trial is better than the one before it has ceased to matter.
    """
    tried = candidates.table_of(state.in_force, table.size)
    return gains.assurance(seen, tried, table, state.load)[0] > learning.DEAREST_LOG


def _trial_goes_on(state: State, trial: Trial, now: float) -> Hold | None:
    """A trial that promises a gain goes on until that is sure, or its patience ends."""
    ends = _latest_end(state, trial)
    if now >= ends:
        return None
    message = f"a trial promises a gain that is not yet sure; it goes on for {ends - now:.0f} s at most"
    return Hold(Reason.TRIAL_RUNNING, message, state.changed_at)


def _latest_end(state: State, trial: Trial) -> float:
    return state.changed_at + (trial.until - state.changed_at) * LONGEST_TRIAL


def _left_over(state: State, limits: Limits, why: str, now: float) -> Decision | None:
    """The end of a trial that nothing will decide any more; it needs no evidence."""
    if state.trial is None or limits.switching is not Switching.LIVE or limits.rollout_in_progress:
        return None
    before = candidates.as_schedule(learning.before(state, candidates.allowed(limits, state.start_k, state.grid)))
    return Decision(Kind.LIVE, before, NO_GAIN, Reason.TRIAL_ENDED, f"a trial ends undecided: {why}", now)


def _trial_ended(seen: Outlook, base: Ints, table: Ints, state: State, now: float) -> Decision:
    """Back to what was in force before; the gain says what is still thought of the best table."""
    gained = gains.gain(seen, base, table, state.load)
    message = "the trial found nothing better" if gained.mean_percent <= 0 else "the trial did not measure enough"
    return Decision(Kind.LIVE, candidates.as_schedule(base), gained, Reason.TRIAL_ENDED, message, now)


def _within_targets(state: State, seen: Outlook, base: Ints, table: Ints, now: float) -> Decision:
    gained, message = gains.gain(seen, base, table, state.load), "steps longer than a latency target allows"
    return Decision(Kind.LIVE, candidates.as_schedule(table), gained, Reason.CONSTRAINT_AT_RISK, message, now)


def _nothing_better(state: State, mean: float, missed: str | None, now: float) -> Hold:
    since = max(state.changed_at, state.first_at if state.first_at is not None else now)
    if missed is not None:
        return Hold(Reason.CONSTRAINT_AT_RISK, missed, since)
    if mean > 0.002:
        return Hold(Reason.GAIN_UNCERTAIN, f"a gain of {100 * mean:.1f} % is likely, but not sure", since)
    return Hold(Reason.GAIN_TOO_SMALL, "no schedule is better than the one in force by more than the margin", since)


def _forced(state: State, limits: Limits, now: float) -> Decision | None:
    """Moves that need no evidence: what is in force breaks a bound or an engine limit."""
    if limits.switching is not Switching.LIVE or state.off or limits.rollout_in_progress:
        return None
    inside = candidates.allowed(limits, state.start_k, state.grid)
    table = candidates.table_of(state.in_force, inside.shape[1])
    fitting = candidates.nearest(table, inside)
    if (fitting == table).all():
        return None
    after = candidates.as_schedule(fitting if state.trial is None else learning.before(state, inside))
    low, high = limits.min_k, limits.max_k
    outside = ((table < low) | (table > high)).any()
    if outside:
        return Decision(Kind.LIVE, after, NO_GAIN, Reason.BOUNDS_CHANGED, f"K must lie in {low}..{high}", now)
    message = "batch x (K + 1) must stay within the engine's CUDA graph and batched-token limits"
    return Decision(Kind.LIVE, after, NO_GAIN, Reason.GRAPH_LIMIT, message, now)


def acted(state: State, decision: Decision, now: float, chance: float = 0.5) -> State:
    """`state` after `decision` reached the engines. Call it once, after the last engine has answered.

    chance: uniform in [0, 1), drawn by the caller; it draws when the untuned K comes next.
    """
    if decision.kind is Kind.RESTART_TRIAL:
        return trials.begun(state, decision, now)
    if decision.kind is Kind.END_TRIAL:
        return trials.ended(state, now)
    if decision.kind is Kind.TRIAL and decision.reason is Reason.SWITCHBACK:
        return switchback.begun(state, decision, now, chance)
    return switchback.followed(state, _moved(state, decision, now), decision, now)


def _moved(state: State, decision: Decision, now: float) -> State:
    before = state.in_force if state.trial is None else state.trial.back_to
    state = verdicts.remember(state, decision, before, now)
    state = replace(state, in_force=decision.schedule, changed_at=now, trial=None)
    if decision.kind is Kind.TRIAL:
        return learning.begun(state, decision, before, now)
    if decision.reason is Reason.TRIAL_ENDED:
        return learning.ended(state, undecided=decision.gain.mean_percent > 0)
    if decision.kind is Kind.DISABLE:
        return replace(state, disabled_at=now, broken_since=None, losing_since=None)
    if decision.kind is Kind.ENABLE:
        return replace(state, disabled_at=None, retries=state.retries + 1, position1=np.zeros(2))
    if decision.kind is Kind.RESTART:
        return restarts.begun(state, decision, now)
    return state


def first_schedule(state: State, limits: Limits) -> Schedule:
    """A start-up schedule from the prior alone, for pods that have yet to start."""
    return restarts.first_schedule(state, limits)
