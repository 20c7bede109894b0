"""Why nothing may be done now. Each check states one fact; their order is the order in which users read about them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from specdec.tuning import season
from specdec.tuning.decisions import Hold, Reason
from specdec.tuning.limits import Limits, Mode, Switching
from specdec.tuning.state import State

DAY_SECONDS: Final = 86_400.0
Check = Callable[[State, Limits, float], Hold | None]


def first_objection(checks: tuple[Check, ...], state: State, limits: Limits, now: float) -> Hold | None:
    """The first of `checks` that objects, or None."""
    return next((hold for check in checks if (hold := check(state, limits, now)) is not None), None)


def bounds_are_invalid(state: State, limits: Limits, now: float) -> Hold | None:
    if 1 <= limits.min_k <= limits.max_k:
        return None
    return Hold(Reason.INVALID_LIMITS, f"min is {limits.min_k} and max is {limits.max_k}; need 1 <= min <= max", now)


def tuning_is_off(state: State, limits: Limits, now: float) -> Hold | None:
    return Hold(Reason.TUNING_OFF, "spec.tuning.mode is Off", _since(state, now)) if limits.mode is Mode.OFF else None


def tuning_is_paused(state: State, limits: Limits, now: float) -> Hold | None:
    return Hold(Reason.PAUSED, "spec.paused is set", _since(state, now)) if limits.paused else None


def metrics_are_missing(state: State, limits: Limits, now: float) -> Hold | None:
    if limits.metrics_age_seconds is not None and state.pods:
        return None
    return Hold(Reason.NO_METRICS, "no pod has been scraped yet", _since(state, now))


def metrics_are_stale(state: State, limits: Limits, now: float) -> Hold | None:
    newest = max((pod.at for pod in state.pods.values()), default=now)
    age = max(limits.metrics_age_seconds or 0.0, now - newest)
    if age <= limits.max_metrics_age_seconds:
        return None
    return Hold(Reason.STALE_METRICS, f"the newest scrape is {age:.0f} s old", newest)


def metrics_do_not_add_up(state: State, limits: Limits, now: float) -> Hold | None:
    if state.recent.suspect < 0.75:
        return None
    return Hold(Reason.SUSPECT_METRICS, "counters of a pod are no counts, or tokens and drafts do not add up", now)


def pods_are_moving(state: State, limits: Limits, now: float) -> Hold | None:
    if not limits.rollout_in_progress:
        return None
    return Hold(Reason.ROLLOUT_IN_PROGRESS, "a rollout is in progress; a moving fleet is not measured", now)


def nothing_can_switch(state: State, limits: Limits, now: float) -> Hold | None:
    if limits.switching is not Switching.NONE:
        return None
    message = "no engine can switch K live and spec.tuning.disruption allows no restart"
    return Hold(Reason.SWITCHING_UNAVAILABLE, message, _since(state, now))


def drafts_are_few(state: State, limits: Limits, now: float) -> Hold | None:
    seen = state.recent.drafts
    if seen >= limits.min_drafts or state.off:
        return None
    return Hold(Reason.TOO_FEW_DRAFTS, f"{seen:.0f} recent drafts, {limits.min_drafts} needed", _since(state, now))


def live_change_is_recent(state: State, limits: Limits, now: float) -> Hold | None:
    ends = state.changed_at + limits.live_cooldown_seconds
    if now >= ends:
        return None
    return Hold(Reason.COOLDOWN, f"the schedule changed {now - state.changed_at:.0f} s ago", state.changed_at)


def day_is_not_seen(state: State, limits: Limits, now: float) -> Hold | None:
    first = state.first_at if state.first_at is not None else now
    if now - first >= DAY_SECONDS:
        return None
    message = f"{(now - first) / 3600:.1f} of 24 hours seen; a restart is decided on a full day"
    return Hold(Reason.NOT_YET_A_DAY, message, first)


def restart_is_recent(state: State, limits: Limits, now: float) -> Hold | None:
    if now >= state.restarted_at + limits.cooldown_seconds:
        return None
    message = f"the last restart was {(now - state.restarted_at) / 3600:.1f} h ago"
    return Hold(Reason.COOLDOWN, message, state.restarted_at)


def restarts_are_spent(state: State, limits: Limits, now: float) -> Hold | None:
    if limits.disruption.restarts_left_today > 0:
        return None
    return Hold(Reason.RESTART_BUDGET_SPENT, "spec.tuning.disruption allows no further restart today", now)


def window_is_closed(state: State, limits: Limits, now: float) -> Hold | None:
    if limits.disruption.window_open:
        return None
    return Hold(Reason.OUTSIDE_WINDOW, "no window of spec.tuning.disruption is open now", now)


def replicas_are_missing(state: State, limits: Limits, now: float) -> Hold | None:
    if limits.serving is None or limits.serving >= limits.replicas:
        return None
    message = f"{limits.serving} of {limits.replicas} replicas serve; none is taken away meanwhile"
    return Hold(Reason.ROLLOUT_IN_PROGRESS, message, now)


def others_would_saturate(state: State, limits: Limits, now: float) -> Hold | None:
    left = limits.replicas - limits.max_unavailable
    if left <= 0 or state.recent.step_seconds <= 0:
        return None
    batch = state.recent.request_seconds / state.recent.step_seconds * limits.replicas / left
    if batch <= limits.max_num_seqs:
        return None
    message = f"with {left} of {limits.replicas} replicas each would have {batch:.0f} requests, more than maxNumSeqs"
    return Hold(Reason.WOULD_SATURATE, message, now)


def quieter_hour_comes(state: State, limits: Limits, now: float) -> Hold | None:
    found = season.quieter_hour(state.season, now) if limits.disruption.any_time else None
    if found is None:
        return None
    usual, least, wait = found
    at = datetime.fromtimestamp(now + wait, UTC).strftime("%a %H:%M UTC")
    message = f"this hour of the week usually has {usual:.3g} requests in service, the one on {at} {least:.3g}"
    return Hold(Reason.QUIETER_HOUR_AHEAD, f"{message}; a restart waits for it", now)


BEFORE_ANYTHING: Final[tuple[Check, ...]] = (bounds_are_invalid, tuning_is_off, tuning_is_paused)
BEFORE_A_MOVE: Final[tuple[Check, ...]] = (
    metrics_are_missing,
    metrics_are_stale,
    metrics_do_not_add_up,
    pods_are_moving,
    nothing_can_switch,
    drafts_are_few,
)
BEFORE_A_LIVE_MOVE: Final[tuple[Check, ...]] = (live_change_is_recent,)
BEFORE_AN_URGENT_RESTART: Final[tuple[Check, ...]] = (restarts_are_spent, window_is_closed, replicas_are_missing)
BEFORE_A_RESTART: Final[tuple[Check, ...]] = (
    restarts_are_spent,
    window_is_closed,
    restart_is_recent,
    day_is_not_seen,
    replicas_are_missing,
    others_would_saturate,
)


def _since(state: State, now: float) -> float:
    return state.first_at if state.first_at is not None else now
