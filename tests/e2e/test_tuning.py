"""K follows what the engines show; a restart is spent only where the user allows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.e2e.looks import await_condition, patch, pod_ids, running, smallest_k, status, wait_ready
from tests.e2e.resources import simulated, tuning
from tests.support.kubectl import Kubectl, condition, until
from tests.support.reach import reach
from tests.support.traffic import Traffic


@pytest.mark.smoke
def test_k_falls_live_when_hard_questions_come_in_numbers(space: Kubectl) -> None:
    space.apply(simulated("live", env={"SPECDEC_SIM_TIME_SCALE": "2"}))
    wait_ready(space, "live")
    pods = pod_ids(space)
    with reach(space, "live") as url, Traffic(url, users=32, domain="hard") as traffic:
        until("a tier below K = 5", lambda: smallest_k(space, "live") < 5, limit=180)
        entry = until("the move is in the history", lambda: status(space, "live").get("history"))[0]
    assert not traffic.failures
    assert entry["reason"]
    assert entry["predictedGainPercent"] is not None
    assert pod_ids(space) == pods
    events = [event["reason"] for event in space.list("events") if event["involvedObject"]["name"] == "live"]
    assert "ScheduleChanged" in events


def test_recommend_says_what_it_would_do_and_does_nothing(space: Kubectl) -> None:
    space.apply(simulated("advised", tuning=tuning("Recommend")))
    wait_ready(space, "advised")
    with reach(space, "advised") as url, Traffic(url, users=32, domain="hard"):
        advice = until("advice", lambda: status(space, "advised").get("recommendation"), limit=180)
    assert advice["reason"]
    assert smallest_k(space, "advised") == 7


def test_a_mismatched_drafter_is_switched_off(space: Kubectl) -> None:
    space.apply(simulated("broken", env={"SPECDEC_SIM_MIX": "mismatched-drafter"}))
    wait_ready(space, "broken")
    with reach(space, "broken") as url, Traffic(url, users=8, domain="mismatched-drafter") as traffic:
        found = await_condition(space, "broken", "SpeculationActive", "False", limit=240)
    assert not traffic.failures
    assert found["message"]
    assert status(space, "broken")["speculation"]["numSpeculativeTokens"] == 0


def test_without_a_restart_budget_no_pod_is_restarted_for_tuning(space: Kubectl) -> None:
    resource = simulated(
        "frozen",
        env={"SPECDEC_SIM_CONTRACT": "0"},
        tuning=tuning(switching="Restart", disruption={"maxRestartsPerDay": 0}),
    )
    space.apply(resource)
    wait_ready(space, "frozen")
    before = running(space, "frozen")

    def held() -> Mapping[str, Any]:
        return condition(space.get("specdep", "frozen"), "Tuned")

    with reach(space, "frozen") as url, Traffic(url, users=32, domain="hard"):
        until("the tuner holds for the budget", lambda: held().get("reason") == "SwitchingUnavailable")
        assert "spec.tuning.disruption allows no restart" in held()["message"]
        assert running(space, "frozen") == before
        patch(space, "frozen", '{"tuning": {"disruption": {"maxRestartsPerDay": 1}}}')
        until("with a budget it holds for another reason", lambda: held()["reason"] != "SwitchingUnavailable")
