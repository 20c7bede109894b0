"""When the untuned K comes back for a while, and what follows where such pairs show that tuning loses."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from specdec.tuning import candidates, constraints, gains, learning
from specdec.tuning.candidates import Ints, Outlook
from specdec.tuning.decisions import NO_GAIN, Decision, Gain, Hold, Kind, Reason
from specdec.tuning.limits import Limits, Mode
from specdec.tuning.pairs import Finding, Pair, Pairs
from specdec.tuning.state import State, Trial

LEAST_SHARE: Final = 0.2  # of the request time, at batch sizes where the untuned K is another than the tuned
DEAREST_LOG: Final = 0.3  # time per token: an untuned K that would cost users more than this is not put in force
BUSY_SHARE: Final = 0.02  # of the request time, at the batch sizes where that is looked at
STALE_SECONDS: Final = 86_400.0  # without a pair, after which they begin anew
REFUTED_FOR_SECONDS: Final = 86_400.0


def recommend(state: State, limits: Limits, now: float) -> Decision | Hold | None:
    """What a switchback demands before all else: that the untuned K stays for its time, or for a day where tuning
    was shown to lose; None where it demands nothing."""
    if state.trial is not None and state.trial.untuned:
        return _untuned_time(state, state.trial, limits, now)
    pairs = state.pairs
    if pairs is None or limits.switchback_share <= 0 or pairs.finding is not Finding.REFUTED:
        return None
    gain, again = pairs.gain(), pairs.refuted_at + REFUTED_FOR_SECONDS
    if gain is not None:
        untuned = candidates.as_schedule(_untuned(state, limits, candidates.allowed(limits, state.start_k, state.grid)))
        back = Gain(-gain.mean_percent, -gain.upper_percent, -gain.lower_percent)
        message = f"{in_words(pairs)}; K = {max(untuned.ks)} stays for a day"
        return Decision(Kind.TAKE_BACK, untuned, back, Reason.SWITCHBACK_REFUTED, message, now)
    if now >= again:
        return None
    message = f"tuning lost against K = {pairs.untuned_k} in a switchback; it goes on in {(again - now) / 3600:.0f} h"
    return Hold(Reason.SWITCHBACK_REFUTED, message, pairs.refuted_at)


def compared(state: State) -> Hold | None:
    """While the second half of a pair runs, nothing else is tried."""
    if state.pairs is None or state.pairs.under_way is None:
        return None
    return Hold(Reason.SWITCHBACK, "what tuning chose is held against the untuned K before it", state.changed_at)


def begin(state: State, limits: Limits, seen: Outlook, table: Ints, now: float) -> Decision | None:
    """The untuned K for a while, if its time has come and there is a difference to be measured. table: shape (B,)."""
    if limits.switchback_share <= 0 or limits.mode is not Mode.AUTO or now < _due_at(state, limits, now):
        return None
    untuned = _untuned(state, limits, _inside(state, limits, seen, table))
    if _share_that_differs(state, table, untuned) < LEAST_SHARE or _too_dear(state, seen, table, untuned):
        return None
    seconds = limits.switchback_seconds
    message = f"K = {int(untuned.max())} for {seconds:.0f} s, to measure what tuning gains"
    schedule, gain = candidates.as_schedule(untuned), gains.gain(seen, table, untuned, state.load)
    return Decision(Kind.TRIAL, schedule, gain, Reason.SWITCHBACK, message, now, trial_seconds=seconds)


def followed(state: State, decision: Decision, now: float, chance: float) -> State:
    """`state` after `decision`, with what it means for the pairs. chance: uniform in [0, 1), see `Pairs.lot`."""
    pairs, trial = state.pairs, state.trial
    if decision.reason is Reason.SWITCHBACK_REFUTED and pairs is not None:
        return replace(state, pairs=Pairs(pairs.untuned_k, now, now, pairs.lot, refuted_at=now))
    if decision.reason is not Reason.SWITCHBACK or trial is None:
        return state
    untuned_k = max(decision.schedule.ks)
    if pairs is None or pairs.untuned_k != untuned_k or now - pairs.last_at > STALE_SECONDS:
        pairs = Pairs(untuned_k, now, now, chance)
    pairs = replace(pairs, last_at=now, lot=chance, under_way=Pair(trial.until - now, trial.back_to))
    return replace(state, trial=replace(trial, untuned=True), pairs=pairs)


def in_words(pairs: Pairs) -> str:
    """What they show, in a sentence."""
    gain, count = pairs.gain(), pairs.seen.count
    against = f"tuned against K = {pairs.untuned_k}"
    if gain is None or gain.upper_percent > 100.0:
        return f"{against}: {count} pairs, too few to say more"
    interval = f"{gain.mean_percent:+.1f} % [{gain.lower_percent:+.1f}, {gain.upper_percent:+.1f}]"
    return f"{against}: {interval} tokens per second at equal batch in {count} pairs: {pairs.finding.value}"


def _untuned_time(state: State, trial: Trial, limits: Limits, now: float) -> Decision | Hold:
    """While the untuned K is in force."""
    seen = candidates.outlook(state)
    before = learning.before(state, candidates.allowed(limits, state.start_k, state.grid))
    untuned, inside = candidates.table_of(state.in_force, before.size), _inside(state, limits, seen, before)
    dear = _too_dear(state, seen, before, untuned) or constraints.broken(state, inside, untuned)
    if now < trial.until and limits.switchback_share > 0 and not dear:
        message = f"K = {max(state.in_force.ks)} for a while, to be held against the tuned schedule"
        return Hold(Reason.SWITCHBACK, message, state.changed_at)
    message = "it costs users too much" if dear else "what tuning chose comes back"
    return Decision(Kind.LIVE, candidates.as_schedule(before), NO_GAIN, Reason.TRIAL_ENDED, message, now)


def _due_at(state: State, limits: Limits, now: float) -> float:
    gap = limits.switchback_seconds / limits.switchback_share  # on average
    if state.pairs is not None:
        return state.pairs.last_at + gap * (0.5 + state.pairs.lot)
    return (state.first_at if state.first_at is not None else now) + gap


def _inside(state: State, limits: Limits, seen: Outlook, table: Ints) -> NDArray[np.bool_]:
    allowed = candidates.allowed(limits, state.start_k, state.grid)
    return constraints.within_targets(allowed, seen, limits, state, table)


def _untuned(state: State, limits: Limits, inside: NDArray[np.bool_]) -> Ints:
    """The start value at every batch size, where the limits allow it."""
    constant = np.full(inside.shape[1], min(state.start_k, limits.max_k), dtype=np.int64)
    return candidates.nearest(constant, inside)


def _share_that_differs(state: State, table: Ints, other: Ints) -> float:
    used = np.flatnonzero(state.load[:, 0] > 0)
    at = candidates.mean_batches(state.load[used], table.size) - 1
    weight = state.load[used, 0]
    return float(weight[table[at] != other[at]].sum() / max(weight.sum(), 1e-12))


def _too_dear(state: State, seen: Outlook, table: Ints, untuned: Ints) -> bool:
    used = np.flatnonzero(state.load[:, 0] > BUSY_SHARE * state.load[:, 0].sum())
    at = candidates.mean_batches(state.load[used], table.size) - 1
    return bool((seen.log_tpot[untuned[at], at] - seen.log_tpot[table[at], at] > DEAREST_LOG).any())
