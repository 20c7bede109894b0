"""The operator may be killed, upgraded or away: models keep serving, and it picks up where it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Final

import pytest

from tests.e2e.looks import OPERATOR, owned, patch, pod_ids, running, status, wait_ready
from tests.e2e.resources import simulated
from tests.support.kubectl import Kubectl, until
from tests.support.reach import reach
from tests.support.traffic import Traffic


def test_killing_the_operator_is_felt_by_nobody(space: Kubectl, operator: Kubectl) -> None:
    space.apply(simulated("felt"))
    wait_ready(space, "felt")
    before = running(space, "felt")
    with reach(space, "felt") as url, Traffic(url, users=8) as traffic:
        for _ in range(3):
            operator.run("delete", "pod", "-l", OPERATOR, "--grace-period=0", "--force")
            operator.run("rollout", "status", "deployment", "-l", OPERATOR, limit=180)
        assert status(space, "felt")["speculation"]
    assert not traffic.failures
    assert running(space, "felt") == before


# Loaded by Python at its start: makes of the operator a version that renders pods otherwise.
OTHERWISE: Final = """
from specdec.desired import plan

render = plan.pod_template

def otherwise(*given):
    template = render(*given)
    template["metadata"]["annotations"]["example.com/rendered"] = "otherwise"
    return template

plan.pod_template = otherwise
"""


@pytest.fixture
def upgraded(operator: Kubectl) -> Iterator[Callable[[], None]]:
    """Puts in the place of the operator one that renders otherwise; at the end the first is back."""
    name = operator.list("deployments", OPERATOR)[0]["metadata"]["name"]
    pod = {
        "containers": [
            {
                "name": "operator",
                "env": [{"name": "PYTHONPATH", "value": "/otherwise"}],
                "volumeMounts": [{"name": "otherwise", "mountPath": "/otherwise"}],
            }
        ],
        "volumes": [{"name": "otherwise", "configMap": {"name": "otherwise"}}],
    }

    def upgrade() -> None:
        operator.run("create", "configmap", "otherwise", f"--from-literal=sitecustomize.py={OTHERWISE}")
        operator.run("patch", "deployment", name, "-p", json.dumps({"spec": {"template": {"spec": pod}}}))
        operator.run("rollout", "status", "deployment", name, limit=300)

    yield upgrade
    operator.run("rollout", "undo", "deployment", name)
    operator.run("rollout", "status", "deployment", name, limit=300)
    operator.run("delete", "configmap", "otherwise", "--ignore-not-found")


def rendered_by(space: Kubectl, name: str) -> str | None:
    annotations: dict[str, str] = space.get("deployment", name)["spec"]["template"]["metadata"]["annotations"]
    return annotations.get("example.com/rendered")


def test_an_operator_that_renders_otherwise_restarts_no_model_pod(space: Kubectl, upgraded: Callable[[], None]) -> None:
    space.apply(simulated("kept"))
    wait_ready(space, "kept")
    before = running(space, "kept")
    upgraded()
    patch(space, "kept", '{"tuning": {"max": 6}}')
    space.apply(simulated("fresh"))
    until("a new resource is rendered otherwise", lambda: rendered_by(space, "fresh") == "otherwise")
    assert running(space, "kept")[0] == before[0]
    assert before[1] <= pod_ids(space)


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
