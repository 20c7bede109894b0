"""A clock that was set back: what is remembered moves with it, or each wait would last longer by as much."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from specdec.tuning.canary import Canary
from specdec.tuning.pairs import Pairs
from specdec.tuning.state import State

TOLERANCE_SECONDS: Final = 5.0


def followed(state: State, now: float) -> State:
    """`state` by the clock that says `now`: all as old as it was at the last round of scrapes, if that lies ahead.

    Pods begin anew, since how long their interval was is not known. Moves keep their time: history knows them by it.
    """
    if state.last_at is None or now >= state.last_at - TOLERANCE_SECONDS:
        return state
    by = now - state.last_at
    return replace(
        state,
        pods={},
        broken_since=_moved(state.broken_since, by),
        losing_since=_moved(state.losing_since, by),
        first_at=_moved(state.first_at, by),
        last_at=now,
        fitted_at=state.fitted_at + by,
        changed_at=state.changed_at + by,
        alarmed_at=state.alarmed_at + by,
        restarted_at=state.restarted_at + by,
        disabled_at=_moved(state.disabled_at, by),
        trial=None if state.trial is None else replace(state.trial, until=state.trial.until + by),
        tried={tag: at + by for tag, at in state.tried.items()},
        tried_at=state.tried_at + by,
        canary=None if state.canary is None else _canary(state.canary, by),
        failed={k: at + by for k, at in state.failed.items()},
        pairs=None if state.pairs is None else _pairs(state.pairs, by),
    )


def _canary(canary: Canary, by: float) -> Canary:
    return replace(
        canary,
        began=canary.began + by,
        first_seen=_moved(canary.first_seen, by),
        last_seen=_moved(canary.last_seen, by),
        window=None if canary.window is None else replace(canary.window, began=canary.window.began + by),
        pods={pod: replace(counters, at=counters.at + by) for pod, counters in canary.pods.items()},
    )


def _pairs(pairs: Pairs, by: float) -> Pairs:
    """The one under way is given up, since how long its intervals were is not known."""
    moved = replace(pairs, began=pairs.began + by, last_at=pairs.last_at + by, refuted_at=pairs.refuted_at + by)
    return replace(moved, under_way=None, lately=(), pods={})


def _moved(at: float | None, by: float) -> float | None:
    return None if at is None else at + by
