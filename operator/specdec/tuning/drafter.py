"""A drafter that does not fit, or costs more than it brings: off, and on again once that is seen to pay.

A poor first token alone does not tell: survivors may be accepted well, and a draft may cost next to nothing. So
drafting goes on where it is known to pay, and ends in doubt, because only then is the cost of no drafts measured.
A good one does not tell either: under load even the best K may lose, where a draft pass is dear.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from specdec.api.schedule import constant
from specdec.tuning import candidates, constraints, gains, restarts
from specdec.tuning.candidates import Floats, Ints, Outlook
from specdec.tuning.decisions import NO_GAIN, TWO_SIDED_90, Decision, Gain, Hold, Kind, Reason
from specdec.tuning.limits import Limits, OnBrokenDrafter, Switching
from specdec.tuning.state import State

BROKEN_FOR_SECONDS: Final = 60.0
RETRY_AFTER_SECONDS: Final = 3_600.0
MEASURED_SECONDS: Final = 120.0  # without drafts, after which their absence has a price
STAYS_ON: Final = 0.84  # standard deviations above zero that the gain of drafting must lie: 80 % sure
COMES_BACK: Final = 1.28  # 90 %
LEAST_LOSS: Final = 0.03  # log units of time per token by which even the best K must lose
LOSES_FOR_SECONDS: Final = 120.0
SHORT_OFF_SECONDS: Final = 900.0  # after one that a change of the load ended so soon, the next must be surer
SURER: Final = 4.0  # times as long


def recommend(state: State, limits: Limits, now: float) -> Decision | Hold | None:
    """Off after a minute of poor first tokens unless drafting pays, or two in which no K did; None where the drafter is
    no matter."""
    if state.off:
        return _while_off(state, limits, now)
    if state.broken_since is None or now - state.broken_since < BROKEN_FOR_SECONDS or _pays(state, limits, STAYS_ON):
        return _no_k_pays(state, limits, now)
    size = state.grid.batches.size
    trials, accepted = state.position1
    found = f"the drafter's first token is accepted in {100 * accepted / trials:.0f} % of drafts; it does not fit"
    least = constant(max(limits.min_k, 1), size)
    if limits.switching is Switching.RESTART and state.in_force != least:
        return restarts.to_minimum(state, limits, least, found, now)
    if limits.switching is Switching.LIVE and limits.on_broken_drafter is OnBrokenDrafter.DISABLE:
        return Decision(Kind.DISABLE, constant(0, size), NO_GAIN, Reason.BROKEN_DRAFTER, found, now)
    if limits.switching is Switching.LIVE and state.in_force != least:
        message = f"{found}; K is held at its minimum"
        return Decision(Kind.LIVE, least, NO_GAIN, Reason.BROKEN_DRAFTER, message, now)
    return Hold(Reason.BROKEN_DRAFTER, found, state.broken_since)


def watched(state: State, limits: Limits, now: float) -> State:
    """`state` with since when no K has paid at the batch sizes in use, if what is known of costs is new.

    Without exact counters nothing is seen of steps without drafts, so nothing would tell when drafting pays again: then
    it is taken to pay.
    """
    if state.off or not state.exact:
        return state if state.losing_since is None else replace(state, losing_since=None)
    if state.fitted_at != state.last_at:
        return state
    since = (state.losing_since or now) if _loses(state, limits) is not None else None
    return state if since == state.losing_since else replace(state, losing_since=since)


def why_off(state: State) -> Reason:
    """What the last move says; a drafter that does not fit where none is remembered."""
    last = next((move for move in reversed(state.moves) if move.kind is Kind.DISABLE), None)
    return Reason.BROKEN_DRAFTER if last is None else last.reason


def _no_k_pays(state: State, limits: Limits, now: float) -> Decision | None:
    if state.losing_since is None or now - state.losing_since < _patience(state):
        return None
    if limits.switching is not Switching.LIVE or limits.on_broken_drafter is not OnBrokenDrafter.DISABLE:
        return None
    # what was measured has shown these very estimates to be wrong
    if state.pairs is not None and state.pairs.stays_untuned(now):
        return None
    losing = _loses(state, limits)
    if losing is None:
        return None
    mean, sd = losing
    message = f"every K loses at this load: {100 * np.expm1(mean):.0f} % more tokens per second expected without drafts"
    none = constant(0, state.grid.batches.size)
    gain = Gain.of_logs(mean, TWO_SIDED_90 * sd)
    return Decision(Kind.DISABLE, none, gain, Reason.NO_K_PAYS, message, now)


def _loses(state: State, limits: Limits) -> tuple[float, float] | None:
    """What no drafts gain where that is likely and enough, of late and just now, and the doubt of it."""
    mean, sd = _gain_of_none(state, limits, state.load)
    if mean <= max(LEAST_LOSS, STAYS_ON * sd) or _gain_of_none(state, limits, state.load_now)[0] <= LEAST_LOSS:
        return None
    return mean, sd


def _patience(state: State) -> float:
    """Loads that come and go within minutes are not followed: each switch comes late by some of them."""
    off = [move for move in state.moves if move.kind in (Kind.DISABLE, Kind.ENABLE)][-2:]
    short = len(off) == 2 and off[1].at - off[0].at < SHORT_OFF_SECONDS
    return LOSES_FOR_SECONDS * (SURER if short else 1.0)


def _while_off(state: State, limits: Limits, now: float) -> Decision | Hold:
    """On again when drafting is seen to pay, else a short try after an hour, then rarer and rarer."""
    least = constant(max(limits.min_k, 1), state.grid.batches.size)
    wait = RETRY_AFTER_SECONDS * 2.0 ** min(state.retries, 5)
    # Where a lost checkpoint leaves untold since when, the first page that was seen says it.
    since = next((at for at in (state.disabled_at, state.first_at) if at is not None), now)
    why = why_off(state)
    missed = now - since >= MEASURED_SECONDS and (
        _pays(state, limits, COMES_BACK) or (why is Reason.NO_K_PAYS and _likely_pays(state, limits))
    )
    if now - since < wait and not missed:
        return Hold(why, f"speculation is off; next try in {since + wait - now:.0f} s", since)
    if limits.switching is not Switching.LIVE:
        return Hold(Reason.SWITCHING_UNAVAILABLE, "speculation is off and no engine can switch it on live", since)
    # the smallest K has merit only where the drafter may not fit
    fits = missed or why is Reason.NO_K_PAYS
    again = candidates.as_schedule(_best(candidates.outlook(state), state, limits)) if fits else least
    message = "drafting pays, by what steps without drafts take" if missed else "see whether drafting pays by now"
    return Decision(Kind.ENABLE, again, NO_GAIN, Reason.DRAFTER_RETRY, message, now)


def _pays(state: State, limits: Limits, sure: float) -> bool:
    """Whether the best K is better than none by `sure` standard deviations, at the batch sizes in use."""
    mean, sd = _gain_of_none(state, limits, state.load)
    return -mean > sure * sd


def _likely_pays(state: State, limits: Limits) -> bool:
    """Enough for a drafter that fits, and was switched off at another load: a try costs little, and tells."""
    return -_gain_of_none(state, limits, state.load_now)[0] > LEAST_LOSS


def _gain_of_none(state: State, limits: Limits, load: Floats) -> tuple[float, float]:
    """What no drafts gain over the best K under `load`, and the doubt of that, log units."""
    seen = candidates.outlook(state)
    best = _best(seen, state, limits)
    return gains.assurance(seen, best, np.zeros_like(best), load)


def _best(seen: Outlook, state: State, limits: Limits) -> Ints:
    inside = candidates.allowed(limits, state.start_k, state.grid)
    in_force = candidates.table_of(state.in_force, inside.shape[1])
    return candidates.best_table(seen, constraints.within_targets(inside, seen, limits, state, in_force))
