"""Benchmarks can count on kwok: nodes, and pods on them, that are Ready without containers."""

import os
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cluster.fakenodes import NODE_SELECTOR, SELECTOR, TOLERATION, FakeNodes
from tests.support.kubectl import Kubectl, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.environ.get("CLUSTER") != "local", reason="makes nodes, so only on a cluster of its own"),
]
NODES: Final = 10
PODS: Final = 40


def _deployment() -> dict[str, Any]:
    labels = {"app": "fake"}
    container = {"name": "main", "image": "nowhere/none:1", "resources": {"limits": {"nvidia.com/gpu": "2"}}}
    pod = {"tolerations": [TOLERATION], "nodeSelector": NODE_SELECTOR, "containers": [container]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "fake"},
        "spec": {
            "replicas": PODS,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def test_pods_on_fake_nodes_become_ready_and_all_of_it_goes_again(cluster: Kubectl, tmp_path: Path) -> None:
    with FakeNodes(cluster.kubeconfig, tmp_path, NODES):
        space = cluster.within("default")
        space.apply(_deployment())
        until("all pods ready", lambda: space.get("deployment", "fake")["status"].get("readyReplicas") == PODS)
        space.run("delete", "deployment", "fake", "--cascade=foreground", "--timeout=120s")
    until("no fake nodes left", lambda: cluster.list("nodes", SELECTOR) == [])
