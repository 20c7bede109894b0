"""Where K is changed by restart, it waits for its window, and one replica tries it before the others follow."""

from __future__ import annotations

import json
import time
from dataclasses import replace

from specdec import tuning as tuner
from specdec.api.resource import SpeculativeDeployment, parse
from specdec.controllers.checkpoint import read
from specdec.controllers.limits import environment_of
from tests.e2e.looks import OPERATOR, await_condition, patch, pod_ids, status, wait_ready
from tests.e2e.resources import engine, simulated, tuning
from tests.support.kubectl import Kubectl, condition, until
from tests.support.reach import reach
from tests.support.traffic import Traffic
from tests.support.windows import OPEN, shut

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


def held_for_its_window(space: Kubectl, name: str) -> bool:
    """Whether a better K is known, and the restart that it takes waits."""
    resource = space.get("specdep", name)
    better = resource["status"].get("recommendation", {}).get("expectedGainPercent", 0) >= 3
    return better and condition(resource, "Tuned").get("reason") == "OutsideWindow"


def test_in_its_window_one_replica_tries_a_better_start_value_and_the_other_follows(
    space: Kubectl, operator: Kubectl
) -> None:
    by_restart = tuning(switching="Restart", window="4s", disruption={"windows": [shut()]})
    space.apply(simulated("tried", replicas=2, engine=engine(), tuning=by_restart))
    wait_ready(space, "tried")
    season(space, operator, "tried")
    pods = pod_ids(space)
    with reach(space, "tried") as url, Traffic(url, users=24, domain="hard") as traffic:
        until("it waits for a window", lambda: held_for_its_window(space, "tried"))
        held = condition(space.get("specdep", "tried"), "Tuned")
        assert (held["status"], held["message"]) == ("False", "no window of spec.tuning.disruption is open now")
        assert (replicas(space), pod_ids(space)) == ({"tried": 2}, pods)
        patch(space, "tried", json.dumps({"tuning": {"disruption": {"windows": [OPEN]}}}))
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
