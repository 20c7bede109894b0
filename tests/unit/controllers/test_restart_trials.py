"""A restart trial in the shell: what is accepted, what history and events say, and what ends it from outside."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from specdec import desired, tuning
from specdec.api.conditions import Condition, EventReason, Truth
from specdec.api.decision import AcceptedDecision, RestartTrial
from specdec.api.schedule import Schedule, Tier, constant
from specdec.controllers.accepting import accepted_with, amended
from specdec.controllers.announcements import steps
from specdec.controllers.checkpoint import Checkpoint, read
from specdec.controllers.findings import findings
from specdec.controllers.reporting import report_of
from specdec.controllers.standing import Standing
from specdec.controllers.tick import restored
from tests.support.engines import fleet
from tests.support.resource import resource

NOW = 1000.0
BY_RESTART: dict[str, Any] = {"replicas": 3, "tuning": {"switching": "Restart"}}
PROMISED, MEASURED = tuning.Gain(8.0, 2.0, 14.0), tuning.Gain(6.0, 4.0, 8.0)
TIERED = Schedule((Tier(1, 16, 5), Tier(17, 256, 3)))
BEGUN = Checkpoint(accepted=AcceptedDecision(1, "Restart", 7), asked_start_k=7, since=0.0)


def answer(kind: tuning.Kind, reason: tuning.Reason, gain: tuning.Gain = PROMISED) -> tuning.Decision:
    schedule = constant(7, 256) if kind is tuning.Kind.END_TRIAL else TIERED
    return tuning.Decision(kind, schedule, gain, reason, "why", NOW, start_k=max(schedule.ks))


TRY = answer(tuning.Kind.RESTART_TRIAL, tuning.Reason.BETTER_START_VALUE)


def followed(checkpoint: Checkpoint, decision: tuning.Decision, at: float = NOW) -> Checkpoint:
    return accepted_with(checkpoint, decision, tuning.Switching.RESTART, at)


def pinned(checkpoint: Checkpoint, **spec: Any) -> Checkpoint:
    assert checkpoint.accepted is not None
    return replace(checkpoint, accepted=desired.pin(resource(**(BY_RESTART | spec)), checkpoint.accepted))


TRYING = pinned(followed(BEGUN, TRY))


def accepted(checkpoint: Checkpoint) -> AcceptedDecision:
    assert checkpoint.accepted is not None
    return checkpoint.accepted


def test_a_trial_leaves_the_peers_as_they_are_and_spends_the_budget() -> None:
    found = accepted(TRYING)
    assert (found.start_k, found.schedule, found.revision) == (7, None, 2)
    assert found.trial is not None
    assert (found.trial.start_k, found.trial.schedule, found.trial.replicas) == (5, TIERED, 1)
    assert TRYING.restarts == (NOW,)
    entry = TRYING.history[0]
    assert (entry.before, entry.after, entry.verdict) == ("7", "5 to batch 16, then 3 on trial", "Pending")


def test_its_pods_are_taken_out_of_the_replicas() -> None:
    parsed = resource(**BY_RESTART)
    manifests = desired.manifests(parsed, accepted(TRYING))
    found = {m.body["metadata"]["name"]: m.body["spec"]["replicas"] for m in manifests if m.kind == "Deployment"}
    assert found == {"demo": 2, "demo-trial": 1}


def test_what_was_proven_is_rolled_out_without_spending_more() -> None:
    after = followed(TRYING, answer(tuning.Kind.RESTART, tuning.Reason.TRIAL_DELIVERED, MEASURED), NOW + 9)
    assert (accepted(after).start_k, accepted(after).schedule, accepted(after).trial) == (5, TIERED, None)
    assert after.restarts == (NOW,)
    rollout, trial = after.history
    assert (trial.verdict, trial.realised_percent) == ("Confirmed", 6.0)
    assert (rollout.after, rollout.predicted_percent, rollout.verdict) == ("5 to batch 16, then 3", 6.0, None)
    assert after.since == NOW + 9


@pytest.mark.parametrize(
    ("reason", "gain", "verdict", "realised"),
    [
        pytest.param(tuning.Reason.DID_NOT_DELIVER, tuning.Gain(-9.0, -12.0, -6.0), "Reverted", -9.0, id="lost"),
        pytest.param(tuning.Reason.TRIAL_INCONCLUSIVE, tuning.Gain(2.0, -1.0, 5.0), "Inconclusive", 2.0, id="unclear"),
        pytest.param(tuning.Reason.TRIAL_NOT_READY, tuning.Gain(0.0, 0.0, 0.0), "Reverted", None, id="never served"),
    ],
)
def test_what_was_not_proven_is_taken_back(
    reason: tuning.Reason, gain: tuning.Gain, verdict: str, realised: float | None
) -> None:
    after = followed(TRYING, answer(tuning.Kind.END_TRIAL, reason, gain), NOW + 9)
    assert accepted(after) == replace(accepted(TRYING), revision=3, trial=None)
    assert [(e.verdict, e.realised_percent) for e in after.history] == [(verdict, realised)]
    assert after.restarts == (NOW,)
    assert after.since == 0.0, "what is in force did not change"


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        pytest.param({"tuning": {"switching": "Restart", "mode": "Off"}}, None, id="mode Off"),
        pytest.param({"tuning": {"switching": "Restart", "mode": "Recommend"}}, "mode is Recommend", id="Recommend"),
        pytest.param({"tuning": {"switching": "Restart", "max": 4}}, "outside of 1..4", id="bounds"),
        pytest.param({"replicas": 1}, "1 replicas leave no peer", id="scaled down"),
        pytest.param({"engine": {"image": "other"}}, "spec.engine.image changed", id="another image"),
        pytest.param({"speculator": {"numSpeculativeTokens": 6}}, None, id="another start value"),
        pytest.param({"tuning": {"switching": "Live"}}, None, id="another way of switching"),
    ],
)
def test_an_edit_in_the_middle_ends_it_cleanly(spec: dict[str, Any], why: str | None) -> None:
    edited = resource(**(BY_RESTART | spec))
    after = amended(TRYING, edited, NOW + 9)
    assert accepted(after).trial is None
    assert accepted(after).revision == 3
    trial = next(entry for entry in after.history if entry.after.endswith("on trial"))
    assert trial.verdict == "Inconclusive"
    assert amended(after, edited, NOW + 10) is after
    told = steps(edited, TRYING, after, None)
    assert EventReason.TRIAL_ENDED in {event.reason for event in told}
    assert why is None or any(why in event.message for event in told)


def test_a_pause_leaves_it_as_it_is() -> None:
    assert amended(TRYING, resource(**BY_RESTART, paused=True, engine={"image": "other"}), NOW) is TRYING


def test_an_edit_that_touches_nothing_of_it_leaves_it() -> None:
    assert amended(TRYING, resource(**BY_RESTART, monitoring={"scrapeIntervalSeconds": 30}), NOW) is TRYING
    assert amended(TRYING, resource(**(BY_RESTART | {"replicas": 5})), NOW) is TRYING


def test_it_is_told_when_it_begins_and_when_it_ends() -> None:
    parsed = resource(**BY_RESTART)
    began = steps(parsed, BEGUN, TRYING, TRY)
    assert [event.reason for event in began] == [EventReason.TRIAL_STARTED]
    assert "K 7 -> 5 to batch 16, then 3 on one replica: why; predicted +8.0 %" in began[0].message
    taken = answer(tuning.Kind.END_TRIAL, tuning.Reason.DID_NOT_DELIVER, tuning.Gain(-9.0, -12.0, -6.0))
    ended = steps(parsed, TRYING, followed(TRYING, taken), taken)
    assert [(event.type, event.reason) for event in ended] == [("Warning", EventReason.TRIAL_ENDED)]
    assert "K 5 to batch 16, then 3 -> 7 on one replica" in ended[0].message


def test_the_condition_says_how_far_it_is() -> None:
    standing = Standing("uid", TRYING)
    found = findings(standing, None)[Condition.TRIAL_IN_PROGRESS]
    assert (found.truth, found.reason) == (Truth.TRUE, "RestartTrial")
    assert "5 to batch 16, then 3" in found.message
    standing.answer = tuning.Hold(tuning.Reason.TRIAL_RUNNING, "+3 % so far", NOW)
    assert findings(standing, None)[Condition.TRIAL_IN_PROGRESS].message == "+3 % so far"


def test_a_killed_operator_finds_the_trial_again_even_where_the_evidence_is_lost() -> None:
    again = read({"data": TRYING.data()})
    assert again == TRYING
    state = restored(resource(**BY_RESTART), again, NOW + 5)
    assert state.canary is not None
    assert (state.canary.start_k, state.canary.schedule, state.canary.began) == (5, TIERED, NOW + 5)
    assert state.in_force == constant(7, 256)


def test_what_was_learned_of_a_trial_that_is_over_is_dropped() -> None:
    parsed = resource(**BY_RESTART)
    trying = tuning.acted(restored(parsed, BEGUN, NOW), TRY, NOW)
    kept = replace(TRYING, tuner=tuning.dump(trying))
    assert restored(parsed, kept, NOW).canary is not None
    over = replace(kept, accepted=replace(accepted(kept), trial=None))
    assert restored(parsed, over, NOW).canary is None


def test_what_is_accepted_wins_over_what_the_tuner_remembers() -> None:
    parsed = resource(**BY_RESTART)
    remembered = tuning.dump(tuning.new_state(restored(parsed, BEGUN, NOW).environment, tuning.estimated_prior()))
    moved = replace(BEGUN, accepted=AcceptedDecision(4, "Restart", 3), tuner=remembered)
    state = restored(parsed, moved, NOW)
    assert (state.in_force, state.start_k) == (constant(3, 256), 3)


def test_a_trial_of_a_constant_k_is_told_by_its_number() -> None:
    plain = replace(BEGUN, accepted=replace(accepted(BEGUN), trial=RestartTrial(4)))
    found = findings(Standing("uid", plain), None)[Condition.TRIAL_IN_PROGRESS]
    assert "tries K 4" in found.message


@pytest.mark.parametrize(
    ("in_force", "basis", "percent"),
    [
        pytest.param(AcceptedDecision(3, "Restart", 5, TIERED), "Measured", 6, id="what the trial measured"),
        pytest.param(AcceptedDecision(4, "Restart", 4), "Estimated", 0, id="something later"),
    ],
)
def test_the_gain_is_measured_where_a_trial_ran(in_force: AcceptedDecision, basis: str, percent: int) -> None:
    delivered = followed(TRYING, answer(tuning.Kind.RESTART, tuning.Reason.TRIAL_DELIVERED, MEASURED))
    running = fleet(pods=1)
    running.run(60, 20, act=False)
    standing = Standing("uid", replace(delivered, accepted=in_force), tuner=running.state)
    shown = report_of(resource(**BY_RESTART), standing).performance
    assert shown is not None
    assert (shown.gain_basis, shown.gain_percent) == (basis, percent)
