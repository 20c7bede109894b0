"""The test cluster is what the other end-to-end tests take it for."""

import os
import re
from collections.abc import Iterator
from typing import Any, Final
from uuid import uuid4

import pytest

from tests.support.kubectl import Kubectl, KubectlError, until

pytestmark = pytest.mark.smoke

# On both kinds of cluster that `make cluster-up` starts; name another one for a cluster of your own.
IMAGE: Final = os.environ.get("TEST_POD_IMAGE", "localhost/busybox:1")
GPUS: Final = 8
RESTRICTED: Final = {
    "runAsNonRoot": True,
    "runAsUser": 65534,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


@pytest.fixture
def space(cluster: Kubectl) -> Iterator[Kubectl]:
    """kubectl in a namespace of this test's own that enforces restricted pod security."""
    name = f"cluster-{uuid4().hex[:6]}"
    cluster.run("create", "namespace", name)
    cluster.run("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield cluster.within(name)
    cluster.run("delete", "namespace", name, "--wait=false")


def _pod(name: str, script: str, *, gpus: int = 0, security: dict[str, Any] = RESTRICTED) -> dict[str, Any]:
    container: dict[str, Any] = {"name": "main", "image": IMAGE, "command": ["sh", "-c", script]}
    container |= {"securityContext": security, "resources": {"limits": {"nvidia.com/gpu": str(gpus)} if gpus else {}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1, "restartPolicy": "Never"},
    }


def _phase(space: Kubectl, pod: str) -> str:
    return str(space.get("pod", pod)["status"].get("phase"))


def _running(space: Kubectl, pod: str) -> None:
    space.run("wait", "--for=condition=Ready", f"pod/{pod}", "--timeout=60s")


def test_two_nodes_are_ready_and_have_eight_gpus_each(cluster: Kubectl) -> None:
    nodes = cluster.list("nodes", "nvidia.com/gpu.product=NVIDIA-H200")
    assert len(nodes) >= 2
    for node in nodes:
        ready = next(c["status"] for c in node["status"]["conditions"] if c["type"] == "Ready")
        assert ready == "True", node["metadata"]["name"]
        assert node["status"]["allocatable"]["nvidia.com/gpu"] == str(GPUS)


def test_a_pod_runs_and_answers_logs_and_exec(space: Kubectl) -> None:
    space.apply(_pod("one", "echo hello; sleep 600"))
    _running(space, "one")
    assert until("the log", lambda: space.run("logs", "one")) == "hello\n"
    assert space.run("exec", "one", "--", "id", "-u") == "65534\n"


def test_pods_that_do_not_fit_on_the_gpus_wait(space: Kubectl, cluster: Kubectl) -> None:
    nodes = len(cluster.list("nodes", "nvidia.com/gpu.product=NVIDIA-H200"))
    for index in range(nodes):
        space.apply(_pod(f"full-{index}", "sleep 600", gpus=GPUS))
        _running(space, f"full-{index}")
    space.apply(_pod("more", "sleep 600", gpus=1))

    def refused() -> str | None:
        conditions = space.get("pod", "more")["status"].get("conditions", [])
        return next((c["message"] for c in conditions if c.get("reason") == "Unschedulable"), None)

    assert "Insufficient nvidia.com/gpu" in until("the scheduler's refusal", refused)
    assert _phase(space, "more") == "Pending"


def test_a_service_is_found_by_name_and_reaches_its_pod(space: Kubectl) -> None:
    space.apply(
        _pod("web", "mkdir /tmp/www; echo served > /tmp/www/index.html; httpd -f -p 8080 -h /tmp/www"),
        _pod("client", "sleep 600"),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
        },
    )
    _running(space, "web")
    _running(space, "client")
    address = space.get("service", "web")["spec"]["clusterIP"]
    full_name = f"web.{space.namespace}.svc.cluster.local"

    def resolved() -> bool:
        return re.search(rf"Address: {re.escape(address)}\b", _in_client(space, f"nslookup {full_name}")) is not None

    assert until(f"{full_name} is {address}", resolved)
    request = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 {address} 80"
    assert until("the answer", lambda: "served" in _in_client(space, request))


def _in_client(space: Kubectl, script: str) -> str:
    return space.run("exec", "client", "--", "sh", "-c", script)


def test_restricted_pod_security_is_enforced(space: Kubectl) -> None:
    with pytest.raises(KubectlError, match="violates PodSecurity"):
        space.apply(_pod("loose", "sleep 600", security={}))
