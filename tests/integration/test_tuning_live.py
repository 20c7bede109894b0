"""The closed loop on real parts: API server, operator process, simulated engines as pods, traffic."""

from collections.abc import Iterator
from typing import Any

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
    with Traffic(pod.url, users=48, domain="chat") as traffic:
        schedule = eventually("a schedule is in force", lambda: _told(pod.get("/v1/speculation")["schedule"]), 90)
        eventually("the status shows it", lambda: world.status("demo").get("history"), 120)
    assert not traffic.failures
    status = world.status("demo")
    assert status["speculation"]["switching"] == "Live"
    assert status["history"][0]["reason"]
    assert status["acceptance"]["meanAcceptedLength"].endswith("m")
    assert status["engine"]["version"]
    events = world.events("demo")
    assert {"ScheduleChanged", "TrialStarted"} & {event["reason"] for event in events}

    fleet.restart(pod)
    eventually("the restarted engine is told again", lambda: _told(pod.get("/v1/speculation")["schedule"]), 30)
    assert schedule["entries"]


def _told(schedule: dict[str, Any]) -> dict[str, Any] | None:
    return schedule if schedule["revision"] > 1 else None
