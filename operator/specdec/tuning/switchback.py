"""When the untuned K comes back for a while, and what follows where such times show that tuning loses."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Final

import numpy as np

from specdec.tuning import candidates, constraints, gains, learning
from specdec.tuning.candidates import Ints, Outlook
from specdec.tuning.decisions import NO_GAIN, Decision, Hold, Kind, Reason
from specdec.tuning.limits import Limits, Mode, Switching
from specdec.tuning.pairs import REFUTED_FOR_SECONDS, Finding, Pair, Pairs
from specdec.tuning.state import State, Trial

LEAST_SHARE: Final = 0.2  # of the request time, at batch sizes where the untuned K is another than the tuned
DEAREST_LOG: Final = 0.3  # time per token: an untuned K that would cost users more than this is not put in force
BUSY_SHARE: Final = 0.02  # of the request time, at the batch sizes where that is looked at
LEAST_BEFORE: Final = 0.6  # of its length that the time before must have been watched
OVERDUE_CHANCE: Final = 0.1  # that a time which guards put off begins now: not with what they waited for
FORCED: Final = (Reason.BOUNDS_CHANGED, Reason.GRAPH_LIMIT)


def kept_up(state: State, limits: Limits, now: float, chance: float) -> State:
    """`state` with pairs where a switchback is asked for, without where not. chance: uniform in [0, 1).

    The pair under way is given up while others than the tuner may change K.
    """
    if limits.switchback_share <= 0:
        return state if state.pairs is None else replace(state, pairs=None)
    pairs, untuned_k = state.pairs, min(state.start_k, limits.max_k)
    if pairs is None or pairs.untuned_k != untuned_k:
        refuted_at = pairs.refuted_at if pairs is not None and pairs.stays_untuned(now) else -inf
        pairs = Pairs(untuned_k, limits.switchback_seconds, now, now, chance, refuted_at=refuted_at)
    if pairs.seconds != limits.switchback_seconds:
        pairs = replace(pairs, seconds=limits.switchback_seconds, under_way=None, lately=())
    ours = limits.mode is Mode.AUTO and not limits.paused and limits.switching is Switching.LIVE and not state.off
    if not ours or pairs.stays_untuned(now):
        pairs = replace(pairs, due_at=inf, under_way=None)
    else:
        due_at = pairs.last_at + pairs.seconds / limits.switchback_share * (0.5 + pairs.lot)
        pairs = pairs if pairs.due_at == due_at else replace(pairs, due_at=due_at)
    return replace(state, pairs=pairs)


def untuned_time(state: State, limits: Limits, now: float) -> Decision | Hold | None:
    """While the untuned K is in force for a while: that it stays, or its end, which needs no evidence."""
    trial = state.trial
    if trial is None or not trial.untuned or limits.switching is Switching.RESTART:
        return None
    seen = candidates.outlook(state)
    before = learning.before(state, candidates.allowed(limits, state.start_k, state.grid))
    dear = _too_dear(state, limits, seen, before, candidates.table_of(state.in_force, before.size))
    if now < trial.until and limits.switchback_share > 0 and not dear:
        message = f"K = {max(state.in_force.ks)} for a while, to be held against what tuning chose"
        return Hold(Reason.SWITCHBACK, message, state.changed_at)
    message = "it costs users too much" if dear else "what tuning chose comes back"
    return Decision(Kind.LIVE, candidates.as_schedule(before), NO_GAIN, Reason.TRIAL_ENDED, message, now)


def refuted(state: State, limits: Limits, now: float) -> Decision | Hold | None:
    """The untuned K for a day, where tuning was shown to lose; None where it was not."""
    pairs = state.pairs
    if pairs is None or pairs.finding is not Finding.REFUTED or limits.mode is not Mode.AUTO:
        return None
    if limits.switching is not Switching.LIVE:
        return None
    gain = pairs.gain()
    untuned = candidates.as_schedule(_untuned(state, limits))
    if gain is not None:
        message = f"{in_words(pairs)}; K = {max(untuned.ks)} stays for a day"
        return Decision(Kind.TAKE_BACK, untuned, gain.taken_back(), Reason.SWITCHBACK_REFUTED, message, now)
    if not pairs.stays_untuned(now):
        return None
    hours = (pairs.refuted_at + REFUTED_FOR_SECONDS - now) / 3600
    message = f"tuning lost in a switchback; it goes on in {hours:.0f} h"
    if state.in_force != untuned:  # as after bounds that came and went
        return Decision(Kind.LIVE, untuned, NO_GAIN, Reason.SWITCHBACK, message, now)
    return Hold(Reason.SWITCHBACK_REFUTED, message, pairs.refuted_at)


def compared(state: State) -> Hold | None:
    """While the time after an untuned one runs, nothing else is tried."""
    if state.pairs is None or state.pairs.under_way is None:
        return None
    return Hold(Reason.SWITCHBACK, "what tuning chose is held against the untuned K before it", state.changed_at)


def begin(state: State, limits: Limits, seen: Outlook, table: Ints, now: float, *, chance: float) -> Decision | None:
    """The untuned K for a while, if its time has come and there is a difference to be measured.

    table: shape (B,), what tuning chose. chance: uniform in [0, 1).
    """
    pairs = state.pairs
    if pairs is None:
        return None
    seconds = pairs.seconds
    if now < pairs.due_at or (_overdue(pairs, now) and chance >= OVERDUE_CHANCE):
        return None
    untuned = _untuned(state, limits)
    long_enough = pairs.lately and now - pairs.lately[0][0] >= LEAST_BEFORE * seconds
    if not long_enough or not any(pairs.before().values()):
        return None
    if _share_that_differs(state, table, untuned) < LEAST_SHARE:
        return None
    if _too_dear(state, limits, seen, table, untuned):
        return None
    message = f"K = {int(untuned.max())} for {seconds:.0f} s, to measure what tuning gains"
    schedule, gain = candidates.as_schedule(untuned), gains.gain(seen, table, untuned, state.load)
    return Decision(Kind.TRIAL, schedule, gain, Reason.SWITCHBACK, message, now, trial_seconds=seconds)


def begun(state: State, decision: Decision, now: float, chance: float) -> State:
    """`state` while the untuned K is in force. chance: see `Pairs.lot`."""
    pairs, trial = state.pairs, Trial(now + (decision.trial_seconds or 0.0), state.in_force, untuned=True)
    if pairs is not None:
        lot = min(chance / OVERDUE_CHANCE, 1.0) if _overdue(pairs, now) else chance
        pairs = replace(pairs, last_at=now, lot=lot, under_way=Pair(pairs.before()), lately=())
    changed = replace(state, in_force=decision.schedule, changed_at=now)
    return replace(changed, trial=trial, pairs=pairs)


def followed(before: State, after: State, decision: Decision, now: float) -> State:
    """`after`, which followed from `before` by `decision`, with what that means for the pairs.

    A better schedule found meanwhile is part of what tuning is; a bound, or the switch to off, is not.
    """
    pairs = after.pairs
    if pairs is None:
        return after
    if decision.reason is Reason.SWITCHBACK_REFUTED:
        return replace(after, pairs=Pairs(pairs.untuned_k, pairs.seconds, now, now, pairs.lot, refuted_at=now))
    if decision.reason in FORCED or decision.kind in (Kind.DISABLE, Kind.ENABLE):
        return replace(after, pairs=replace(pairs, under_way=None, lately=()))
    pair = pairs.under_way
    if pair is None:
        return after
    if before.trial is not None and before.trial.untuned:
        return replace(after, pairs=replace(pairs, under_way=replace(pair, back_at=now)))
    return after


def in_words(pairs: Pairs) -> str:
    """What they show, in a sentence."""
    gain, count = pairs.gain(), pairs.seen.count
    against = f"tuned against K = {pairs.untuned_k}"
    if gain is None or gain.upper_percent > 100.0:
        return f"{against}: {count} pairs, too few to say more"
    interval = f"{gain.mean_percent:+.1f} % [{gain.lower_percent:+.1f}, {gain.upper_percent:+.1f}]"
    return f"{against}: {interval} tokens per second at equal batch in {count} pairs: {pairs.finding.value}"


def _overdue(pairs: Pairs, now: float) -> bool:
    return now - pairs.due_at > pairs.seconds


def _untuned(state: State, limits: Limits) -> Ints:
    """The start value at every batch size, where bounds and engine allow it."""
    inside = candidates.allowed(limits, state.start_k, state.grid)
    constant = np.full(inside.shape[1], min(state.start_k, limits.max_k), dtype=np.int64)
    return candidates.nearest(constant, inside)


def _share_that_differs(state: State, table: Ints, other: Ints) -> float:
    used = np.flatnonzero(state.load[:, 0] > 0)
    at = candidates.mean_batches(state.load[used], table.size) - 1
    weight = state.load[used, 0]
    return float(weight[table[at] != other[at]].sum() / max(weight.sum(), 1e-12))


def _too_dear(state: State, limits: Limits, seen: Outlook, table: Ints, untuned: Ints) -> bool:
    """Whether the untuned K costs users too much time, or a latency target that what tuning chose meets."""
    used = np.flatnonzero(state.load[:, 0] > BUSY_SHARE * state.load[:, 0].sum())
    at = candidates.mean_batches(state.load[used], table.size) - 1
    if (seen.log_tpot[untuned[at], at] - seen.log_tpot[table[at], at] > DEAREST_LOG).any():
        return True
    if not limits.constraints:
        return False
    allowed = candidates.allowed(limits, state.start_k, state.grid)
    if constraints.broken(state, constraints.within_targets(allowed, seen, limits, state, table), untuned):
        return True
    misses = [constraints.nearest_miss(state, limits, seen, which) is not None for which in (untuned, table)]
    return misses == [True, False]
