"""The closed loop on real parts: API server, operator process, simulated engines as pods, traffic."""

from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.integration.conftest import World
from tests.support.fleet import Fleet, eventually
from tests.support.operator import OperatorProcess, operator
from tests.support.traffic import Traffic

FAST: dict[str, Any] = {
    "model": {"servedName": "deepseek-v4-flash"},
    "tuning": {"window": "1m", "cooldown": "1s", "minDrafts": 100},
    "monitoring": {"scrapeIntervalSeconds": 1},
    "engine": {"image": "specdec/simulator:dev", "maxNumSeqs": 64},
}
USERS: Final = 48
DECIDE_SECONDS: Final = 240.0


@pytest.fixture
def running(world: World) -> Iterator[OperatorProcess]:
    with operator(world.kubeconfig) as process:
        yield process


@pytest.fixture
def fleet(world: World) -> Iterator[Fleet]:
    with Fleet(world.api, world.namespace, {"SEED": "1", "FAULTS": "1"}) as fleet:
        yield fleet


def test_k_follows_load_live_and_new_pods_are_told(world: World, running: OperatorProcess, fleet: Fleet) -> None:
    world.apply("demo", replicas=1, **FAST)
    world.wait_for("deployment/demo")
    fleet.follow()
    pod = next(iter(fleet.pods.values()))
    world.wait_condition("demo", "Ready")
    world.wait_condition("demo", "MetricsAvailable")
    # Half of the first drafts fail and 48 requests share each step: by the estimated tables K = 7 costs a quarter here.
    with Traffic(pod.url, users=USERS, domain="hard") as traffic:
        eventually("a better schedule was decided", lambda: world.status("demo").get("history"), DECIDE_SECONDS)
        schedule = eventually("and is in force", lambda: _told(pod.get("/v1/speculation")["schedule"]))
    assert not traffic.failures
    status = world.status("demo")
    assert status["speculation"]["switching"] == "Live"
    assert status["history"][-1]["reason"] == "BetterSchedule"
    assert _k_at(status["speculation"]["schedule"], USERS) < 7
    assert status["acceptance"]["meanAcceptedLength"].endswith("m")
    assert status["engine"]["version"]
    assert "ScheduleChanged" in {event["reason"] for event in world.events("demo")}

    fleet.restart(pod)
    eventually("the restarted engine is told again", lambda: _told(pod.get("/v1/speculation")["schedule"]))
    assert schedule["entries"]


def test_a_switchback_measures_what_tuning_gains(world: World, running: OperatorProcess, fleet: Fleet) -> None:
    tuning = {**FAST["tuning"], "window": "4s", "switchback": {"sharePercent": 50}}
    world.apply("held", replicas=1, **FAST | {"tuning": tuning})
    world.wait_for("deployment/held")
    fleet.follow()
    pod = next(iter(fleet.pods.values()))
    world.wait_condition("held", "Ready")
    with Traffic(pod.url, users=USERS, domain="hard") as traffic:
        measured = eventually("pairs were compared", lambda: _compared(world, 4), DECIDE_SECONDS)
        world.apply("held", replicas=1, **FAST)
        eventually("the tuned schedule stays", lambda: "switchback" not in world.status("held"))
        assert _k_at(world.status("held")["speculation"]["schedule"], USERS) < 7
    assert not traffic.failures
    assert measured["untunedNumSpeculativeTokens"] == 7
    assert measured["gainPercent"] > 0
    told = [event["message"] for event in world.events("held") if event["reason"] == "TrialStarted"]
    assert any("to measure what tuning gains" in message for message in told)
    assert {entry["reason"] for entry in world.status("held")["history"]} == {"BetterSchedule"}


def _compared(world: World, pairs: int) -> dict[str, Any] | None:
    found: dict[str, Any] = world.status("held").get("switchback") or {}
    return found if found.get("pairs", 0) >= pairs else None


def _told(schedule: dict[str, Any]) -> dict[str, Any] | None:
    return schedule if schedule["revision"] > 1 else None


def _k_at(tiers: list[dict[str, int]], batch: int) -> int:
    return next(t["numSpeculativeTokens"] for t in tiers if t["fromBatch"] <= batch <= t["toBatch"])
