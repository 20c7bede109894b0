"""A start value is tried on one replica before the others follow: begun, watched, and rolled out or taken back.

The prediction rests on the prior where a shorter block was never run; the replica says what is true. It is compared
with its peers in the same windows at equal batch, by a test that may be looked at any time (`canary`, `sequential`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from specdec.api.schedule import Schedule
from specdec.tuning import guards
from specdec.tuning.canary import Canary
from specdec.tuning.decisions import NO_GAIN, Decision, Gain, Hold, Kind, Reason
from specdec.tuning.limits import Limits
from specdec.tuning.state import State

LONGEST_SECONDS: Final = 86_400.0
FAILED_FOR_SECONDS: Final = 7 * 86_400.0
MOST_RESTARTS: Final = 2
LIKELY: Final = 0.84  # standard deviations above zero that a gain must lie to be tried: 80 % sure

Check = Callable[[State, Canary, Limits, float], Decision | Hold | None]


@dataclass(frozen=True, slots=True)
class Promise:
    """A start value and schedule, and the gain predicted for the usual load. mean, sd: of that gain, log units."""

    start_k: int
    schedule: Schedule
    gain: Gain
    mean: float
    sd: float

    @property
    def likely(self) -> bool:
        """Whether it is sure enough to be tried on one replica."""
        return self.mean >= LIKELY * self.sd


def proposed(state: State, limits: Limits, promise: Promise, now: float) -> Decision | Hold:
    """Try what is promised on one replica, or why not."""
    start_k, schedule, gain = promise.start_k, promise.schedule, promise.gain
    needed = limits.min_gain_percent + limits.restart_cost_percent
    said = f"{gain.mean_percent:+.1f} % tokens per second expected"
    failed = state.failed.get(start_k)
    if failed is not None and now - failed < FAILED_FOR_SECONDS:
        again = (failed + FAILED_FOR_SECONDS - now) / 3600
        message = f"{said} from K = {start_k}, but a replica tried it and did not show it; not again for {again:.0f} h"
        return Hold(Reason.GAIN_UNCERTAIN, message, failed)
    if gain.mean_percent < needed:
        return Hold(Reason.GAIN_TOO_SMALL, f"{said}; {needed:.1f} % needed", now)
    if not promise.likely:
        return Hold(Reason.GAIN_UNCERTAIN, f"{said}, but too little is known to try it", now)
    message = f"one of {limits.replicas} replicas tries K = {start_k}; {said}"
    return Decision(Kind.RESTART_TRIAL, schedule, gain, Reason.BETTER_START_VALUE, message, now, start_k=start_k)


def recommend(state: State, canary: Canary, limits: Limits, now: float) -> Decision | Hold:
    """What becomes of the replica on trial. The order of CHECKS is the order in which users read about it."""
    return next(answer for check in CHECKS if (answer := check(state, canary, limits, now)) is not None)


def begun(state: State, decision: Decision, now: float) -> State:
    """`state` after one replica was told to restart. What the others run with stays in force."""
    start = decision.start_k if decision.start_k is not None else max(decision.schedule.ks)
    return replace(state, canary=Canary(start, decision.schedule, decision.gain, now), restarted_at=now)


def ended(state: State, now: float) -> State:
    """`state` after the replica was taken back: what it did not show is not tried again soon."""
    if state.canary is None:
        return state
    recent = {k: at for k, at in state.failed.items() if now - at < FAILED_FOR_SECONDS}
    return replace(state, canary=None, failed={**recent, state.canary.start_k: now})


def in_words(canary: Canary) -> str:
    """How far it is, in a sentence."""
    gain = canary.gain()
    who = f"one replica runs with K = {canary.start_k}"
    if canary.first_seen is None:
        return f"{who}; it does not serve yet"
    if gain is None or gain.upper_percent > 100.0:
        return f"{who} beside {canary.peers} peers; {canary.seen.count} windows compared, too few to say more"
    interval = f"[{gain.lower_percent:+.1f}, {gain.upper_percent:+.1f}]"
    windows = f"{canary.seen.count} windows at equal batch"
    return f"{who}: {gain.mean_percent:+.1f} % {interval} over {canary.peers} peers, {windows}"


def _does_not_serve(state: State, canary: Canary, limits: Limits, now: float) -> Decision | Hold | None:
    since = canary.began if canary.last_seen is None else canary.last_seen
    if now - since <= limits.trial_start_seconds:
        return None
    message = f"the replica with K = {canary.start_k} did not serve for {limits.trial_start_seconds:.0f} s"
    return _taken_back(state, canary, Reason.TRIAL_NOT_READY, message, now)


def _keeps_restarting(state: State, canary: Canary, limits: Limits, now: float) -> Decision | Hold | None:
    if canary.restarts < MOST_RESTARTS:
        return None
    message = f"the engine with K = {canary.start_k} restarted {canary.restarts} times"
    return _taken_back(state, canary, Reason.TRIAL_NOT_READY, message, now)


def _starts(state: State, canary: Canary, limits: Limits, now: float) -> Decision | Hold | None:
    if canary.first_seen is not None:
        return None
    waited = f"{now - canary.began:.0f} of at most {limits.trial_start_seconds:.0f} s"
    return Hold(Reason.TRIAL_RUNNING, f"{in_words(canary)} ({waited})", canary.began)


def _loses(state: State, canary: Canary, limits: Limits, now: float) -> Decision | Hold | None:
    gain = canary.gain()
    if gain is None or gain.upper_percent >= 0.0:
        return None
    return _taken_back(state, canary, Reason.DID_NOT_DELIVER, f"{in_words(canary)}: it is slower", now)


def _wins_too_little(state: State, canary: Canary, limits: Limits, now: float) -> Decision | Hold | None:
    gain = canary.gain()
    if gain is None or gain.upper_percent >= limits.min_gain_percent:
        return None
    message = f"{in_words(canary)}: less than the {limits.min_gain_percent:.0f} % that a restart must bring"
    return _taken_back(state, canary, Reason.DID_NOT_DELIVER, message, now)


def _wins(state: State, canary: Canary, limits: Limits, now: float) -> Decision | Hold | None:
    gain = canary.gain()
    if gain is None or gain.mean_percent < limits.min_gain_percent or gain.lower_percent < limits.restart_cost_percent:
        return None
    if not limits.disruption.window_open:
        message = f"{in_words(canary)}; the others follow when a window of spec.tuning.disruption opens"
        return Hold(Reason.OUTSIDE_WINDOW, message, canary.began)
    waits = guards.quieter_hour_comes(state, limits, now)
    if waits is not None:
        return replace(waits, message=f"{in_words(canary)}; {waits.message}")
    message = f"{in_words(canary)}; the others follow"
    start = canary.start_k
    return Decision(Kind.RESTART, canary.schedule, gain, Reason.TRIAL_DELIVERED, message, now, start_k=start)


def _takes_too_long(state: State, canary: Canary, limits: Limits, now: float) -> Decision | Hold | None:
    if canary.first_seen is None or now - canary.first_seen < LONGEST_SECONDS:
        return None
    hours = (now - canary.first_seen) / 3600
    message = f"{in_words(canary)}: not clear after {hours:.0f} h"
    return _taken_back(state, canary, Reason.TRIAL_INCONCLUSIVE, message, now)


def _goes_on(state: State, canary: Canary, limits: Limits, now: float) -> Decision | Hold | None:
    return Hold(Reason.TRIAL_RUNNING, in_words(canary), canary.began)


CHECKS: Final[tuple[Check, ...]] = (
    _does_not_serve,
    _keeps_restarting,
    _starts,
    _loses,
    _wins_too_little,
    _wins,
    _takes_too_long,
    _goes_on,
)


def _taken_back(state: State, canary: Canary, reason: Reason, message: str, now: float) -> Decision:
    gain = canary.gain()
    measured = gain if gain is not None and gain.upper_percent <= 100.0 else NO_GAIN
    return Decision(Kind.END_TRIAL, state.in_force, measured, reason, f"{message}; it is taken back", now)
