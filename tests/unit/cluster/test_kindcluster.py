"""What kind is asked for, on an engine of our own and on the machine's, and what is deleted of it."""

from pathlib import Path

import pytest

from tests.cluster import engine, kindcluster, tools
from tests.cluster.engine import Engine
from tests.cluster.kindcluster import configuration
from tests.cluster.layout import Layout
from tests.cluster.nodes import LABELS
from tests.cluster.places import ClusterError

OWN = Layout("test", 207, 1, Path("/state"))


@pytest.mark.parametrize(("count", "roles"), [(1, ["control-plane"]), (3, ["control-plane", "worker", "worker"])])
def test_every_node_is_labelled_as_an_h200_node(count: int, roles: list[str]) -> None:
    nodes = configuration(count, None, own_image=False)["nodes"]
    assert [node["role"] for node in nodes] == roles
    assert all(node["labels"] == LABELS for node in nodes)


def test_the_machines_engine_keeps_kinds_own_networks() -> None:
    assert configuration(2, None, own_image=False)["networking"] == {"disableDefaultCNI": False}


def test_our_engine_gets_addresses_that_the_host_has_routes_for() -> None:
    networking = configuration(2, OWN, own_image=True)["networking"]
    assert networking["disableDefaultCNI"] is True
    assert (networking["podSubnet"], networking["serviceSubnet"]) == (OWN.pods, OWN.services)
    assert networking["apiServerAddress"] == OWN.nodes[0].address


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The commands that kind was given, on the machine's engine; its `create` fails after it has made nodes."""
    commands: list[str] = []

    def kind(chosen: Engine, *arguments: str, limit: float) -> None:
        commands.append(" ".join(arguments[:4]))
        if arguments[0] == "create":
            raise ClusterError("kubeadm init failed")

    monkeypatch.setenv("CLUSTER_STATE", str(tmp_path))
    monkeypatch.setattr(tools, "path", lambda name: tmp_path / name)
    monkeypatch.setattr(engine, "machines_own", lambda: Engine("", own=False))
    monkeypatch.setattr(kindcluster, "_node_image", lambda chosen: ("kindest/node:test", False))
    monkeypatch.setattr(kindcluster, "_kind", kind)
    return commands


def test_a_cluster_that_did_not_come_up_is_deleted(asked: list[str]) -> None:
    with pytest.raises(ClusterError, match="kubeadm"):
        kindcluster.up("test", 2)
    kindcluster.down("test", wipe=True)
    assert asked == ["create cluster --name test", "delete cluster --name test"]


def test_a_cluster_that_was_never_asked_for_is_not_deleted(asked: list[str]) -> None:
    kindcluster.down("test")
    assert asked == []
