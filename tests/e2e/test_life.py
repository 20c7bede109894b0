"""A resource from `kubectl apply` to `kubectl delete`, as its user sees it."""

from __future__ import annotations

import pytest

from tests.e2e.looks import OPERATOR, await_condition, await_replicas, owned, patch, running, status, wait_ready
from tests.e2e.resources import engine, simulated
from tests.support.kubectl import Kubectl, KubectlError, until
from tests.support.reach import reach
from tests.support.traffic import Traffic


@pytest.mark.smoke
def test_an_applied_resource_serves_is_scraped_and_leaves_nothing(space: Kubectl) -> None:
    space.apply(simulated("small"))
    wait_ready(space, "small")
    with reach(space, "small") as url, Traffic(url, users=4) as traffic:
        until("acceptance is shown", lambda: status(space, "small").get("acceptance", {}).get("meanAcceptedLength"))
        assert status(space, "small")["speculation"]["numSpeculativeTokens"] in range(1, 8)
        await_condition(space, "small", "MetricsAvailable", "True")
    assert not traffic.failures
    assert len(owned(space, "small")) >= 6

    space.run("delete", "specdep", "small", "--wait=true")
    until("all children are gone", lambda: not owned(space, "small"))


@pytest.mark.smoke
def test_kubectl_get_shows_what_matters(space: Kubectl) -> None:
    space.apply(simulated("shown"))
    wait_ready(space, "shown")
    with reach(space, "shown") as url, Traffic(url, users=4):
        until("tokens are counted", lambda: status(space, "shown").get("performance"))
        header, row = space.run("get", "specdep", "shown").splitlines()
    assert header.split() == ["NAME", "READY", "K", "ACCEPTED", "TOK/S", "GAIN", "AGE"]
    assert row.split()[0] == "shown"
    wide = space.run("get", "specdep", "shown", "-o", "wide").splitlines()[0].split()
    assert wide[-3:] == ["METHOD", "SWITCHING", "REASON"]


def test_kubectl_scale_adds_a_pod_and_takes_it_away(space: Kubectl) -> None:
    space.apply(simulated("scaled"))
    wait_ready(space, "scaled")
    for replicas in (2, 1):
        space.run("scale", "specdep/scaled", f"--replicas={replicas}")
        await_replicas(space, "scaled", replicas)


def test_a_full_fleet_is_told_as_missing_capacity(space: Kubectl) -> None:
    space.apply(simulated("huge", replicas=9, engine=engine(tensor=8)))
    found = await_condition(space, "huge", "CapacityAvailable", "False")
    assert found["reason"] == "InsufficientGpus"
    assert "nvidia.com/gpu" in found["message"] or "GPU" in found["message"]


def test_a_bad_edit_is_refused_and_changes_nothing(space: Kubectl) -> None:
    space.apply(simulated("steady"))
    wait_ready(space, "steady")
    before = space.get("specdep", "steady")["spec"]
    with pytest.raises(KubectlError, match=r"spec\.tuning\.max"):
        space.run("patch", "specdep", "steady", "--type=merge", "-p", '{"spec": {"tuning": {"max": 9}}}')
    assert space.get("specdep", "steady")["spec"] == before


def test_edits_that_need_no_restart_cause_none(space: Kubectl) -> None:
    space.apply(simulated("edited"))
    wait_ready(space, "edited")
    before = running(space, "edited")
    for change in ('{"tuning": {"max": 5}}', '{"tuning": {"mode": "Recommend"}}', '{"tuning": {"minGainPercent": 4}}'):
        patch(space, "edited", change)
    assert running(space, "edited") == before


def test_the_command_reads_from_within_the_operators_pod(space: Kubectl, operator: Kubectl) -> None:
    space.apply(simulated("read"))
    wait_ready(space, "read")
    deployment = operator.list("deployments", OPERATOR)[0]["metadata"]["name"]

    def said(*words: str) -> str:
        return operator.run("exec", f"deploy/{deployment}", "--", "specdec", *words)

    assert " read " in said("status", "-A")
    assert "AllReplicasReady" in said("status", "read", "-n", space.namespace or "")
    assert "in force: K 7" in said("explain", "read", "-n", space.namespace or "")
