"""From decisions and edits to what is accepted, and back from what was stored."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from specdec import desired, tuning
from specdec.api.decision import AcceptedDecision
from specdec.api.schedule import Schedule, Tier, constant
from specdec.controllers.accepting import (
    accepted_with,
    amended,
    held_by_pause,
    in_words,
    judged,
    outdone,
    wanted_live,
)
from specdec.controllers.checkpoint import Checkpoint, CheckpointUnreadable, Entry, read
from tests.support.resource import resource

NOW = 1000.0
GAIN = tuning.Gain(5.0, 3.0, 7.0)
TIERED = Schedule((Tier(1, 16, 7), Tier(17, 256, 3)))
FIRST = amended(Checkpoint(), resource(), NOW)


def decision(kind: tuning.Kind, schedule: Schedule = TIERED, start_k: int | None = None) -> tuning.Decision:
    return tuning.Decision(kind, schedule, GAIN, tuning.Reason.BETTER_SCHEDULE, "why", NOW, start_k=start_k)


def accepted(checkpoint: Checkpoint) -> AcceptedDecision:
    assert checkpoint.accepted is not None
    return checkpoint.accepted


@pytest.mark.parametrize(
    ("edit", "held"),
    [
        pytest.param({"paused": True}, None, id="nothing was edited"),
        pytest.param({"paused": True, "replicas": 3}, None, id="what needs no restart is not held"),
        pytest.param({"paused": True, "engine": {"image": "specdec/vllm:2"}}, "ImageChanged", id="the template"),
        pytest.param(
            {"paused": True, "speculator": {"numSpeculativeTokens": 4}}, "StartValueChanged", id="the start value"
        ),
        pytest.param({"engine": {"image": "specdec/vllm:2"}}, None, id="no pause"),
    ],
)
def test_a_pause_holds_what_would_restart_the_pods(edit: dict[str, Any], held: str | None) -> None:
    made = replace(FIRST, accepted=desired.pin(resource(), accepted(FIRST)))
    found = held_by_pause(made, resource(**edit), NOW)
    assert (found and found.reason) == held


def test_the_first_acceptance_is_what_the_user_asked_for() -> None:
    assert accepted(FIRST) == AcceptedDecision(revision=1, switching="Live", start_k=7)
    assert amended(FIRST, resource(), NOW) is FIRST


def test_a_live_decision_keeps_the_start_value_and_takes_the_next_revision() -> None:
    after = accepted_with(FIRST, decision(tuning.Kind.LIVE), tuning.Switching.LIVE, NOW)
    assert (accepted(after).revision, accepted(after).schedule, accepted(after).start_k) == (2, TIERED, 7)
    assert after.history[0] == Entry(NOW, "7", "7 to batch 16, then 3", "BetterSchedule", 5.0, None, "Pending")
    assert after.restarts == ()


def test_a_restart_is_counted_against_the_budget() -> None:
    move = decision(tuning.Kind.RESTART, constant(3, 256), start_k=3)
    after = accepted_with(FIRST, move, tuning.Switching.RESTART, NOW)
    assert (accepted(after).switching, accepted(after).start_k, accepted(after).schedule) == ("Restart", 3, None)
    assert after.restarts == (NOW,)


def test_pods_tuned_by_restart_go_live_only_when_asked_to() -> None:
    move = decision(tuning.Kind.RESTART, constant(3, 256), start_k=3)
    by_restart = accepted_with(FIRST, move, tuning.Switching.RESTART, NOW)
    assert amended(by_restart, resource(tuning={"switching": "Automatic"}), NOW) is by_restart
    asked = amended(by_restart, resource(tuning={"switching": "Live"}), NOW)
    assert (accepted(asked).switching, accepted(asked).revision) == ("Live", 3)


def test_a_trial_is_accepted_but_is_no_move_of_the_history() -> None:
    after = accepted_with(FIRST, decision(tuning.Kind.TRIAL), tuning.Switching.LIVE, NOW)
    assert accepted(after).schedule == TIERED
    assert after.history == ()


def test_a_move_that_ends_a_trial_is_told_from_what_was_in_force_before_the_trial() -> None:
    tried = accepted_with(FIRST, decision(tuning.Kind.TRIAL), tuning.Switching.LIVE, NOW)
    kept = decision(tuning.Kind.LIVE, constant(4, 256))
    after = accepted_with(tried, kept, tuning.Switching.LIVE, NOW + 30, back_to=constant(7, 256))
    assert (after.history[0].before, after.history[0].after) == ("7", "4")


def test_switching_off_keeps_the_way_back() -> None:
    tiered = accepted_with(FIRST, decision(tuning.Kind.LIVE), tuning.Switching.LIVE, NOW)
    off = accepted_with(tiered, decision(tuning.Kind.DISABLE, constant(0, 256)), tuning.Switching.LIVE, NOW)
    assert accepted(off).off
    assert accepted(off).schedule == TIERED
    assert wanted_live(accepted(off), 256) == constant(0, 256)
    assert in_words(accepted(off)) == "off"


@pytest.mark.parametrize(
    ("spec", "reason", "start_k", "switching"),
    [
        pytest.param({"speculator": {"numSpeculativeTokens": 5}}, "StartValueChanged", 5, "Live", id="start value"),
        pytest.param({"tuning": {"switching": "Restart"}}, "SwitchingChanged", 7, "Restart", id="way of switching"),
        pytest.param({"tuning": {"mode": "Off"}}, "TuningOff", 7, "Live", id="mode Off"),
    ],
)
def test_what_the_user_changes_wins_over_what_was_tuned(
    spec: dict[str, Any], reason: str, start_k: int, switching: str
) -> None:
    tuned = accepted_with(FIRST, decision(tuning.Kind.LIVE), tuning.Switching.LIVE, NOW)
    after = amended(tuned, resource(**spec), NOW + 1)
    assert (accepted(after).start_k, accepted(after).switching, accepted(after).schedule) == (start_k, switching, None)
    assert accepted(after).revision == 3
    assert after.history[0].reason == reason
    assert amended(after, resource(**spec), NOW + 2) is after


def test_bounds_and_goals_amend_nothing() -> None:
    tuned = accepted_with(FIRST, decision(tuning.Kind.LIVE), tuning.Switching.LIVE, NOW)
    assert amended(tuned, resource(tuning={"min": 2, "max": 5, "minGainPercent": 9}), NOW) is tuned


def test_a_later_revision_of_an_engine_is_outdone() -> None:
    assert accepted(outdone(FIRST, 9)).revision == 10
    assert outdone(FIRST, 1) is FIRST


def test_a_verdict_reaches_its_entry_once() -> None:
    pending = accepted_with(FIRST, decision(tuning.Kind.LIVE), tuning.Switching.LIVE, NOW)
    move = tuning.Move(NOW, tuning.Kind.LIVE, tuning.Reason.BETTER_SCHEDULE, constant(7, 256), TIERED, GAIN)
    assert judged(pending, (move,)) is pending
    done = replace(move, realised=tuning.Gain(4.0, 1.0, 6.0), verdict=tuning.Verdict.DELIVERED)
    after = judged(pending, (done,))
    assert (after.history[0].verdict, after.history[0].realised_percent) == ("Confirmed", 4.0)
    assert judged(after, (done,)) is after


def test_a_checkpoint_is_read_back_as_it_was_stored() -> None:
    tuned = accepted_with(FIRST, decision(tuning.Kind.LIVE), tuning.Switching.LIVE, NOW)
    whole = replace(tuned, tuner="{}", restarts=(1.0, 2.0), unwatched={"PodMonitor": "d"})
    assert read({"data": whole.data()}) == whole
    assert whole.data() == read({"data": whole.data()}).data()
    assert read(None) == Checkpoint()


def test_the_history_keeps_the_last_ten() -> None:
    checkpoint = Checkpoint()
    for number in range(12):
        checkpoint = checkpoint.remember(Entry(float(number), "7", "5", "BetterSchedule"))
    assert [entry.at for entry in checkpoint.history] == [float(number) for number in range(11, 1, -1)]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 99}', '{"format": 1}', '{"format": 1, "accepted": 3}'])
def test_a_damaged_checkpoint_is_told(text: str) -> None:
    with pytest.raises(CheckpointUnreadable):
        read({"data": {"checkpoint.json": text}})


def test_many_tiers_are_told_in_short() -> None:
    tiers = tuple(Tier(n, n, 7 - n % 2) for n in range(1, 9))
    assert in_words(AcceptedDecision(1, "Live", 7, Schedule(tiers))) == "6 to 7 in 8 tiers"
