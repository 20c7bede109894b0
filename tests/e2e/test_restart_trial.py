"""Where K is changed by restart, one replica tries it under traffic before the others follow."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

from specdec import tuning as tuner
from specdec.api.resource import SpeculativeDeployment, parse
from specdec.controllers.checkpoint import read
from specdec.controllers.limits import environment_of
from tests.e2e.looks import OPERATOR, await_condition, status, wait_ready
from tests.e2e.resources import engine, simulated, tuning
from tests.support.kubectl import Kubectl, until
from tests.support.reach import reach
from tests.support.traffic import Traffic

TWO_DAYS = 2 * 86_400.0


def replicas(space: Kubectl) -> dict[str, int]:
    return {body["metadata"]["name"]: body["spec"]["replicas"] for body in space.list("deployments")}


def season(space: Kubectl, operator: Kubectl, name: str) -> None:
    """As if the operator had watched the resource for two days: a test cannot wait for the day that a restart needs."""
    deployment = operator.list("deployments", OPERATOR)[0]["metadata"]["name"]
    operator.run("scale", f"deployment/{deployment}", "--replicas=0")
    operator.run("wait", "pod", "-l", OPERATOR, "--for=delete", "--timeout=60s")
    parsed = parse(space.get("specdep", name))
    assert isinstance(parsed, SpeculativeDeployment)
    fresh = tuner.new_state(environment_of(parsed), tuner.estimated_prior())
    stored = read(space.get("configmap", f"{name}-checkpoint"))
    aged = replace(stored, tuner=tuner.dump(replace(fresh, first_at=time.time() - TWO_DAYS)))
    space.run("patch", "configmap", f"{name}-checkpoint", "--type=merge", "-p", json.dumps({"data": aged.data()}))
    operator.run("scale", f"deployment/{deployment}", "--replicas=2")
    operator.run("rollout", "status", f"deployment/{deployment}", limit=180)


def test_one_replica_tries_a_better_start_value_and_the_other_follows(space: Kubectl, operator: Kubectl) -> None:
    quick: dict[str, Any] = {"replicas": 2, "engine": engine(), "tuning": tuning(switching="Restart", window="4s")}
    space.apply(simulated("tried", **quick))
    wait_ready(space, "tried")
    season(space, operator, "tried")
    with reach(space, "tried") as url, Traffic(url, users=24, domain="hard") as traffic:
        found = await_condition(space, "tried", "TrialInProgress", "True", limit=120)
        assert found["reason"] == "RestartTrial"
        until("a second Deployment", lambda: replicas(space) == {"tried": 1, "tried-trial": 1})
        until("it is over", lambda: replicas(space) == {"tried": 2}, limit=240)
        rollout, trial = until("two entries", lambda: (status(space, "tried").get("history") or [])[:2] or None)
    assert (trial["verdict"], rollout["reason"]) == ("Confirmed", "TrialDelivered")
    assert trial["realisedGainPercent"] >= 3
    assert not traffic.failures
    told = {e["reason"] for e in space.list("events") if e["involvedObject"]["name"] == "tried"}
    assert {"TrialStarted", "StartValueChanged", "PodTemplateChanged"} <= told
