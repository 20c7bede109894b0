"""A clock that is set back by hours, as when a node's time is corrected, stops nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from specdec.api.schedule import constant
from specdec.tuning import Canary, Gain, Kind, Reason, observe
from specdec.tuning.state import State, Trial
from tests.support.engines import BROKEN, HARD, START, Fleet, fleet

JUMP = 5 * 3600.0


def trying() -> Fleet:
    running = fleet()
    while running.state.trial is None:
        running.run(15, 60)
    return running


def test_a_trial_lasts_no_longer() -> None:
    running = trying()
    running.now -= JUMP
    running.run(15, 60, act=False)
    assert running.state.trial is not None
    assert running.state.trial.until - running.now <= 30


def test_the_tuner_moves_as_soon_as_it_would_have() -> None:
    running = fleet(profile=HARD)
    running.run(30, 60)
    running.now -= JUMP
    running.run(600, 60)
    assert any(decision.reason is Reason.BETTER_SCHEDULE for decision in running.decisions)
    held = [answer.message for answer in running.answers]
    assert not [message for message in held if " -" in message.partition("changed")[2]]


def test_a_broken_drafter_is_tried_again_after_its_hour() -> None:
    running = fleet(profile=BROKEN)
    running.run(180, 20)
    assert running.state.off
    running.now -= JUMP
    running.run(3700, 20, every=60.0)
    assert running.decisions[-1].kind in {Kind.ENABLE, Kind.DISABLE}
    assert any(decision.kind is Kind.ENABLE for decision in running.decisions)


def test_costs_are_fitted_at_once() -> None:
    running = fleet()
    running.run(300, 20)
    running.now -= JUMP
    running.run(30, 20, act=False)
    assert 0 <= running.now - running.state.fitted_at < 30


def ages(state: State) -> dict[str, float]:
    assert state.first_at is not None
    assert state.last_at is not None
    assert state.disabled_at is not None
    assert state.broken_since is not None
    assert state.trial is not None
    assert state.canary is not None
    assert state.canary.first_seen is not None
    at = {
        "first": state.first_at,
        "disabled": state.disabled_at,
        "broken": state.broken_since,
        "restarted": state.restarted_at,
        "alarmed": state.alarmed_at,
        "changed": state.changed_at,
        "tried": state.tried_at,
        "until": state.trial.until,
        "began": state.canary.began,
        "first seen": state.canary.first_seen,
        **{f"tried {tag}": at for tag, at in state.tried.items()},
        **{f"failed {k}": at for k, at in state.failed.items()},
    }
    return {what: state.last_at - when for what, when in at.items()}


@pytest.mark.parametrize("back", [JUMP, 60.0])
def test_what_is_remembered_stays_as_old_as_it_was(back: float) -> None:
    state = replace(
        fleet(profile=BROKEN).state,
        first_at=START - 90.0,
        last_at=START,
        changed_at=START - 80.0,
        restarted_at=START - 70.0,
        alarmed_at=START - 60.0,
        tried_at=START - 50.0,
        disabled_at=START - 40.0,
        broken_since=START - 30.0,
        trial=Trial(START + 20.0, constant(7, 256)),
        tried={302: START - 50.0},
        failed={3: START - 10.0},
        canary=Canary(3, constant(3, 256), Gain(1.0, 0.0, 2.0), START - 9.0, first_seen=START - 8.0),
    )
    assert ages(observe(state, [], START - back)) == ages(state)


def test_a_clock_that_is_slewed_by_seconds_moves_nothing() -> None:
    running = trying()
    before = running.state.trial
    assert observe(running.state, [], running.now - 3.0).trial == before
