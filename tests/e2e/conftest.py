"""The installed operator on whatever cluster KUBECONFIG names, and a namespace for each test."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest

from tests.cluster import tools
from tests.support.kubectl import Kubectl

REPOSITORY: Final = Path(__file__).resolve().parents[2]
CHART: Final = REPOSITORY / "charts" / "specdec-operator"
SYSTEM_NAMESPACE: Final = "specdec-system"
RELEASE: Final = "specdec"


@pytest.fixture(scope="session")
def cluster() -> Kubectl:
    """kubectl against the cluster under test."""
    kubeconfig = os.environ.get("KUBECONFIG")
    if not kubeconfig:
        pytest.fail("KUBECONFIG names no cluster; run `make test-e2e`, or `make cluster-up` and export what it prints")
    return Kubectl(tools.path("kubectl"), Path(kubeconfig))


def install(cluster: Kubectl, *settings: str) -> None:
    """`helm upgrade --install` of the chart in the checkout, as it says in the quick start."""
    subprocess.run(
        [
            *(str(tools.path("helm")), "upgrade", "--install", RELEASE, str(CHART)),
            *("--kubeconfig", str(cluster.kubeconfig), "--namespace", SYSTEM_NAMESPACE, "--create-namespace"),
            *("--set", "image.repository=specdec/operator", "--set", "image.tag=dev"),
            *(word for setting in settings for word in ("--set", setting)),
            *("--wait", "--timeout", "3m"),
        ],
        check=True,
        timeout=240,
    )


@pytest.fixture(scope="session")
def operator(cluster: Kubectl) -> Kubectl:
    """kubectl in the operator's namespace, with the operator running."""
    install(cluster)
    return cluster.within(SYSTEM_NAMESPACE)


@pytest.fixture
def space(cluster: Kubectl, operator: Kubectl) -> Iterator[Kubectl]:
    """kubectl in a fresh namespace that ends with the test."""
    name = f"e2e-{uuid4().hex[:6]}"
    cluster.run("create", "namespace", name)
    yield cluster.within(name)
    cluster.run("delete", "namespace", name, "--wait=false")
