"""What kind is asked for, on an engine of our own and on the machine's."""

from pathlib import Path

import pytest

from tests.cluster.kindcluster import configuration
from tests.cluster.layout import Layout
from tests.cluster.nodes import LABELS

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
