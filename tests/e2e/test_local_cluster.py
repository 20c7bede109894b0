"""A local cluster of this test's own: it runs beside others, keeps its GPUs, and leaves nothing behind."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.cluster import cgroups, local
from tests.cluster.controlplane import ControlPlane, kubectl
from tests.cluster.layout import Layout
from tests.cluster.network import KERNEL_DEFAULTS
from tests.cluster.places import ClusterError
from tests.cluster.processes import run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.environ.get("CLUSTER") != "local" or os.geteuid() != 0, reason="needs CLUSTER=local and root on this machine"
    ),
]
NAME: Final = "self-test"
GPU_PATH: Final = r"jsonpath={.status.allocatable.nvidia\.com/gpu}"


@pytest.fixture
def own() -> Iterator[Layout]:
    """One node under a name of its own."""
    yield local.up(NAME, 1, ControlPlane())
    local.down(NAME, wipe=True)


def _kernel_settings() -> dict[str, str]:
    return {path: Path("/proc/sys", path).read_text() for path in KERNEL_DEFAULTS}


def test_down_leaves_nothing_behind() -> None:
    settings = _kernel_settings()
    layout = local.up(NAME, 1, ControlPlane())
    assert cgroups.members(layout.cgroup)
    local.down(NAME)
    assert [entry.name for entry in layout.state.iterdir()] == ["images"]
    assert not cgroups.exists(layout.cgroup)
    assert layout.host_link not in run("ip", "-o", "link")
    assert f"10.{layout.number}." not in run("ip", "route")
    assert str(layout.state) not in Path("/proc/mounts").read_text()
    assert _kernel_settings() == settings
    local.down(NAME, wipe=True)
    assert not layout.state.exists()


def test_down_finds_all_processes_even_without_the_state_folder(own: Layout) -> None:
    (own.state / "cluster.json").unlink()
    local.down(NAME)
    assert not cgroups.exists(own.cgroup)
    assert own.host_link not in run("ip", "-o", "link")


def test_gpus_and_pods_outlive_a_restart_of_the_kubelet(own: Layout) -> None:
    pods = kubectl(own, "get", "pods", "-A", "-o", "jsonpath={.items[*].metadata.uid}")
    local.restart_kubelet(own, own.nodes[0])
    assert kubectl(own, "get", "node", "node1", "-o", GPU_PATH) == "8"
    assert kubectl(own, "get", "pods", "-A", "-o", "jsonpath={.items[*].metadata.uid}") == pods


def test_a_dead_daemon_is_named_with_its_log(own: Layout) -> None:
    daemons = local.ledger(own)
    daemon = daemons.daemons()["kube-scheduler"]
    os.kill(daemon.pid, 9)
    with pytest.raises(
        ClusterError, match=r"kube-scheduler died while waiting for anything; read .*kube-scheduler.log"
    ):
        daemons.wait("anything", lambda: False, limit=10)
