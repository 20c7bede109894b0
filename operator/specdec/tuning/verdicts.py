"""Every move predicts its gain; what was measured afterwards is held against it, and a move that lost is taken back."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from specdec.api.schedule import Schedule
from specdec.tuning import candidates, gains
from specdec.tuning.decisions import Decision, Gain, Kind, Move, Reason, Verdict
from specdec.tuning.state import State

JUDGED_AFTER_SECONDS: Final = 120.0
RESTART_JUDGED_AFTER_SECONDS: Final = 3600.0  # by then the last pod has loaded
MOST_MOVES: Final = 10
LOST_PERCENT: Final = -0.5
JUDGED_KINDS: Final = (Kind.LIVE, Kind.RESTART)
PROMISING: Final = (Reason.BETTER_SCHEDULE, Reason.BETTER_START_VALUE)


def remember(state: State, decision: Decision, before: Schedule, now: float) -> State:
    """`state` with the move in its history. Trials and their ends are no moves."""
    if decision.kind is Kind.TRIAL or decision.reason is Reason.TRIAL_ENDED:
        return state
    starts = (state.start_k, decision.start_k if decision.start_k is not None else state.start_k)
    move = Move(now, decision.kind, decision.reason, before, decision.schedule, decision.gain, start_ks=starts)
    return replace(state, moves=(*state.moves, move)[-MOST_MOVES:])


def promises(decision: Decision | Move) -> bool:
    """Whether a gain was promised, so that a verdict is due: not for moves that a bound or a limit forced."""
    return decision.reason in PROMISING


def judge(state: State, now: float) -> State:
    """`state` with its moves judged that are old enough; one that another move followed too soon is inconclusive."""
    due = [i for i, move in enumerate(state.moves) if move.verdict is Verdict.PENDING and _judged_here(move)]
    if not due:
        return state
    moves, last = list(state.moves), len(state.moves) - 1
    for i in due:
        if i < last:
            moves[i] = replace(moves[i], verdict=Verdict.INCONCLUSIVE)
        elif now - moves[i].at >= _patience(moves[i]) and state.trial is None:
            moves[i] = _judged(state, moves[i])
    return replace(state, moves=tuple(moves)) if moves != list(state.moves) else state


def _judged_here(move: Move) -> bool:
    """A restart trial has a verdict of its own."""
    return promises(move) and move.kind in JUDGED_KINDS


def _patience(move: Move) -> float:
    return RESTART_JUDGED_AFTER_SECONDS if move.kind is Kind.RESTART else JUDGED_AFTER_SECONDS


def _judged(state: State, move: Move) -> Move:
    # The engines of before drafted a block of another length, and what that cost is no longer measured by any.
    if move.start_ks is not None and move.start_ks[0] != move.start_ks[1]:
        return replace(move, verdict=Verdict.INCONCLUSIVE)
    realised = realised_gain(state, move)
    return replace(move, realised=realised, verdict=_verdict(realised))


def realised_gain(state: State, move: Move) -> Gain:
    """The move's gain at the batch sizes seen since, on costs and acceptance measured by now."""
    seen = candidates.outlook(state)
    size = seen.log_tpot.shape[1]
    before, after = candidates.table_of(move.before, size), candidates.table_of(move.after, size)
    return gains.gain(seen, before, after, state.load)


def take_back(state: State, inside: NDArray[np.bool_], now: float) -> Decision | None:
    """Return to the schedule before the last move if that move was judged to have lost, and what was before it is
    still allowed. inside: shape (K + 1, B)."""
    if not state.moves or state.moves[-1].verdict is not Verdict.DID_NOT_DELIVER:
        return None
    move = state.moves[-1]
    if move.kind is not Kind.LIVE or move.realised is None or state.in_force != move.after:
        return None
    before = candidates.table_of(move.before, inside.shape[1])
    if (candidates.nearest(before, inside) != before).any():
        return None
    realised = move.realised.mean_percent
    message = f"the last move was to gain {move.predicted.mean_percent:+.1f} % and brought {realised:+.1f} %"
    return Decision(Kind.TAKE_BACK, move.before, move.realised.taken_back(), Reason.DID_NOT_DELIVER, message, now)


def _verdict(realised: Gain) -> Verdict:
    if realised.upper_percent < LOST_PERCENT:
        return Verdict.DID_NOT_DELIVER
    return Verdict.DELIVERED if realised.lower_percent > 0 else Verdict.INCONCLUSIVE
