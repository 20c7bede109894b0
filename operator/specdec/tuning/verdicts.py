"""Every move predicts its gain; what was measured afterwards is held against it, and a move that lost is taken back."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from specdec.api.schedule import Schedule
from specdec.tuning import candidates
from specdec.tuning.decisions import Decision, Gain, Kind, Move, Reason, Verdict
from specdec.tuning.state import State

JUDGED_AFTER_SECONDS: Final = 120.0
RESTART_JUDGED_AFTER_SECONDS: Final = 3600.0  # by then the last pod has loaded
MOST_MOVES: Final = 10
LOST_PERCENT: Final = -0.5
JUDGED_KINDS: Final = (Kind.LIVE, Kind.RESTART)


def remember(state: State, decision: Decision, before: Schedule, now: float) -> State:
    """`state` with the move in its history. Trials and their ends are no moves."""
    if decision.kind is Kind.TRIAL or decision.reason is Reason.TRIAL_ENDED:
        return state
    start = state.trial.back_to if state.trial is not None else before
    move = Move(now, decision.kind, decision.reason, start, decision.schedule, decision.gain)
    return replace(state, moves=(*state.moves, move)[-MOST_MOVES:])


def judge(state: State, now: float) -> State:
    """`state` with the last move judged, once enough has been measured under it."""
    if not state.moves or state.moves[-1].realised is not None:
        return state
    move = state.moves[-1]
    patience = RESTART_JUDGED_AFTER_SECONDS if move.kind is Kind.RESTART else JUDGED_AFTER_SECONDS
    if now - move.at < patience:
        return state
    if move.reason is not Reason.BETTER_SCHEDULE and move.kind is not Kind.RESTART:
        return state
    realised = realised_gain(state, move)
    return replace(state, moves=(*state.moves[:-1], replace(move, realised=realised, verdict=_verdict(realised))))


def realised_gain(state: State, move: Move) -> Gain:
    """The move's gain at the batch sizes seen since, on costs and acceptance measured by now."""
    seen = candidates.outlook(state)
    size = seen.log_tpot.shape[1]
    before, after = candidates.table_of(move.before, size), candidates.table_of(move.after, size)
    return candidates.gain(seen, before, after, state.load)


def take_back(state: State, now: float) -> Decision | None:
    """Return to the schedule before the last move if that move was judged to have lost."""
    if not state.moves or state.moves[-1].verdict is not Verdict.DID_NOT_DELIVER:
        return None
    move = state.moves[-1]
    if move.kind not in JUDGED_KINDS or move.realised is None or state.in_force != move.after:
        return None
    realised = move.realised.mean_percent
    message = f"the last move was to gain {move.predicted.mean_percent:+.1f} % and brought {realised:+.1f} %"
    back = Gain(-realised, -move.realised.upper_percent, -move.realised.lower_percent)
    return Decision(Kind.TAKE_BACK, move.before, back, Reason.DID_NOT_DELIVER, message, now)


def _verdict(realised: Gain) -> Verdict:
    if realised.upper_percent < LOST_PERCENT:
        return Verdict.DID_NOT_DELIVER
    return Verdict.DELIVERED if realised.lower_percent > 0 else Verdict.INCONCLUSIVE
