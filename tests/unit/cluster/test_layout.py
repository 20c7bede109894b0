"""Clusters side by side have nothing in common."""

from ipaddress import IPv4Network, ip_address
from pathlib import Path

from tests.cluster.layout import FIRST_NUMBER, LAST_NUMBER, Layout


def test_the_networks_of_one_cluster_do_not_overlap() -> None:
    layout = Layout("one", FIRST_NUMBER, 3, Path("/state"))
    nodes = IPv4Network(f"{layout.host}/24", strict=False)
    networks = [nodes, IPv4Network(layout.pods), IPv4Network(layout.services)]
    assert not any(a.overlaps(b) for a in networks for b in networks if a is not b)
    assert all(ip_address(node.address) in nodes for node in layout.nodes)
    assert all(IPv4Network(node.pods).subnet_of(IPv4Network(layout.pods)) for node in layout.nodes)
    assert ip_address(layout.dns) in IPv4Network(layout.services)


def test_two_clusters_share_no_name_and_no_address() -> None:
    one, other = (
        Layout(name, number, 2, Path("/s", name)) for name, number in (("a", FIRST_NUMBER), ("b", LAST_NUMBER))
    )
    assert {one.host_link, one.cgroup, one.pods, one.services}.isdisjoint(
        {other.host_link, other.cgroup, other.pods, other.services}
    )
    assert {node.link for node in one.nodes}.isdisjoint(node.link for node in other.nodes)


def test_interface_names_fit_the_kernel() -> None:
    layout = Layout("a-rather-long-name-for-a-cluster", LAST_NUMBER, 60, Path("/state"))
    assert all(len(name) <= 15 for name in (layout.host_link, *(node.link for node in layout.nodes)))
