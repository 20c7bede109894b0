"""`helm test` on a real cluster, as the notes of the chart tell a user to run it."""

from __future__ import annotations

import subprocess
from typing import Final

import pytest

from tests.cluster import tools
from tests.e2e.conftest import RELEASE, SYSTEM_NAMESPACE, install
from tests.support.kubectl import Kubectl

LIMIT_SECONDS: Final = 240


def helm_test(cluster: Kubectl) -> subprocess.CompletedProcess[str]:
    words = ("test", RELEASE, "--namespace", SYSTEM_NAMESPACE, "--timeout", f"{LIMIT_SECONDS - 30}s")
    return subprocess.run(
        [str(tools.path("helm")), *words, "--kubeconfig", str(cluster.kubeconfig)],
        check=False,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
    )


@pytest.mark.smoke
def test_it_passes_and_leaves_nothing_behind(cluster: Kubectl, operator: Kubectl) -> None:
    install(cluster)
    done = helm_test(cluster)
    assert done.returncode == 0, done.stdout + done.stderr
    assert operator.list("specdep") == []
    assert [
        item["metadata"]["name"] for item in operator.list("configmaps") if "test" in item["metadata"]["name"]
    ] == []


def test_it_fails_where_the_simulator_cannot_start_and_the_log_says_why(cluster: Kubectl, operator: Kubectl) -> None:
    install(cluster, "test.simulator.tag=nowhere", "test.timeoutSeconds=15")
    try:
        assert helm_test(cluster).returncode != 0
        said = operator.run("logs", "specdec-specdec-operator-test")
        assert "Ready: False" in said
        assert "failed: not Ready within 15 s" in said
    finally:
        install(cluster)
