"""A drafter that does not fit: off, and on again once that is seen to pay.

A poor first token alone does not tell: survivors may be accepted well, and a draft may cost next to nothing. So
drafting goes on where it is known to pay, and ends in doubt, because only then is the cost of no drafts measured.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from specdec.api.schedule import constant
from specdec.tuning import candidates, gains, restarts
from specdec.tuning.decisions import NO_GAIN, Decision, Hold, Kind, Reason
from specdec.tuning.limits import Limits, OnBrokenDrafter, Switching
from specdec.tuning.state import State

BROKEN_FOR_SECONDS: Final = 60.0
RETRY_AFTER_SECONDS: Final = 3_600.0
MEASURED_SECONDS: Final = 120.0  # without drafts, after which their absence has a price
STAYS_ON: Final = 0.84  # standard deviations above zero that the gain of drafting must lie: 80 % sure
COMES_BACK: Final = 1.28  # 90 %


def recommend(state: State, limits: Limits, now: float) -> Decision | Hold | None:
    """Off after a minute of poor first tokens unless drafting pays; None where the drafter is no matter."""
    if state.off:
        return _while_off(state, limits, now)
    if state.broken_since is None or now - state.broken_since < BROKEN_FOR_SECONDS or _pays(state, limits, STAYS_ON):
        return None
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


def _while_off(state: State, limits: Limits, now: float) -> Decision | Hold:
    """On again when drafting is seen to pay, else a short try after an hour, then rarer and rarer."""
    wait = RETRY_AFTER_SECONDS * 2.0 ** min(state.retries, 5)
    # Where a lost checkpoint leaves untold since when, the first page that was seen says it.
    since = next((at for at in (state.disabled_at, state.first_at) if at is not None), now)
    missed = now - since >= MEASURED_SECONDS and _pays(state, limits, COMES_BACK)
    if now - since < wait and not missed:
        return Hold(Reason.BROKEN_DRAFTER, f"speculation is off; next try in {since + wait - now:.0f} s", since)
    if limits.switching is not Switching.LIVE:
        return Hold(Reason.SWITCHING_UNAVAILABLE, "speculation is off and no engine can switch it on live", since)
    again = constant(max(limits.min_k, 1), state.grid.batches.size)
    message = "steps without drafts show that drafting pays" if missed else "see whether the drafter fits now"
    return Decision(Kind.ENABLE, again, NO_GAIN, Reason.DRAFTER_RETRY, message, now)


def _pays(state: State, limits: Limits, sure: float) -> bool:
    """Whether the best K is better than none by `sure` standard deviations, at the batch sizes in use."""
    seen = candidates.outlook(state)
    best = candidates.best_table(seen, candidates.allowed(limits, state.start_k, state.grid))
    mean, sd = gains.assurance(seen, np.zeros_like(best), best, state.load)
    return mean > sure * sd
