"""The operator may be killed, upgraded or away: models keep serving, and it picks up where it was."""

from __future__ import annotations

from tests.e2e.conftest import install
from tests.e2e.looks import OPERATOR, owned, patch, pod_ids, status, wait_ready
from tests.e2e.resources import simulated
from tests.support.kubectl import Kubectl, until
from tests.support.reach import reach
from tests.support.traffic import Traffic


def test_killing_the_operator_is_felt_by_nobody(space: Kubectl, operator: Kubectl) -> None:
    space.apply(simulated("felt"))
    wait_ready(space, "felt")
    pods = pod_ids(space)
    with reach(space, "felt") as url, Traffic(url, users=8) as traffic:
        for _ in range(3):
            operator.run("delete", "pod", "-l", OPERATOR, "--grace-period=0", "--force")
            operator.run("rollout", "status", "deployment", "-l", OPERATOR, limit=180)
        assert status(space, "felt")["speculation"]
    assert not traffic.failures
    assert pod_ids(space) == pods


def test_an_upgrade_of_the_operator_restarts_no_model_pod(cluster: Kubectl, space: Kubectl, operator: Kubectl) -> None:
    space.apply(simulated("kept"))
    wait_ready(space, "kept")
    pods = pod_ids(space)
    install(cluster, "podAnnotations.upgraded=yes")
    space.run("annotate", "specdep", "kept", "example.com/touched=yes")
    patch(space, "kept", '{"tuning": {"max": 6}}')
    assert pod_ids(space) == pods
    install(cluster)


def test_deletion_works_with_the_operator_gone(space: Kubectl, operator: Kubectl) -> None:
    space.apply(simulated("orphan"))
    wait_ready(space, "orphan")
    deployment = operator.list("deployments", OPERATOR)[0]["metadata"]["name"]
    operator.run("scale", f"deployment/{deployment}", "--replicas=0")
    try:
        space.run("delete", "specdep", "orphan", "--wait=true")
        until("all children are gone", lambda: not owned(space, "orphan"))
    finally:
        operator.run("scale", f"deployment/{deployment}", "--replicas=2")
        operator.run("rollout", "status", f"deployment/{deployment}", limit=180)
