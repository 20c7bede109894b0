"""What reaches the operator and what it reaches, where a network plugin enforces policies."""

from __future__ import annotations

from typing import Any

import pytest

from specdec.api import names
from tests.chart.rendering import HelmError, Manifest, render

POLICY = "specdec-specdec-operator"


def policy(values: dict[str, Any] | None = None) -> Manifest:
    return render(values).one("NetworkPolicy", POLICY)


def ports(rule: dict[str, Any]) -> set[object]:
    return {item["port"] for item in rule["ports"]}


def test_the_policy_selects_the_operator_pods_and_only_them() -> None:
    rendered = render()
    labels = rendered.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    selected = rendered.one("NetworkPolicy", POLICY)["spec"]["podSelector"]["matchLabels"]
    assert selected.items() <= labels.items()
    assert selected["app.kubernetes.io/component"] == "operator"


def test_only_health_and_metrics_can_be_reached() -> None:
    health, metrics = policy()["spec"]["ingress"]
    assert ports(health) == {"health"}
    assert ports(metrics) == {"metrics"}
    assert "from" not in metrics


def test_metrics_can_be_kept_to_prometheus() -> None:
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    assert policy({"networkPolicy": {"metricsFrom": [peer]}})["spec"]["ingress"][1]["from"] == [peer]


def test_the_operator_reaches_names_the_api_server_and_engines() -> None:
    dns, api_server, engines = policy()["spec"]["egress"]
    assert ports(dns) == {53, 5353}
    assert ports(api_server) == {443, 6443}
    assert ports(engines) == {names.HTTP_PORT}
    (peer,) = engines["to"]
    assert peer["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "specdec-engine"}
    assert peer["namespaceSelector"] == {}


def test_the_engines_port_cannot_be_chosen() -> None:
    """Operator, Service and probes know but one."""
    with pytest.raises(HelmError, match="enginePort"):
        render({"networkPolicy": {"enginePort": 9000}})


def test_engines_are_reached_in_the_served_namespaces_only() -> None:
    (peer,) = policy({"watchNamespaces": ["b", "a"]})["spec"]["egress"][2]["to"]
    assert peer["namespaceSelector"]["matchExpressions"] == [
        {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["a", "b"]}
    ]


def test_the_api_server_can_be_named_and_more_be_allowed() -> None:
    extra = {"ports": [{"port": 9090}], "to": [{"namespaceSelector": {}}]}
    spec = policy(
        {"networkPolicy": {"apiServerCIDRs": ["10.0.0.1/32"], "apiServerPorts": [6443], "extraEgress": [extra]}}
    )
    _, api_server, _, more = spec["spec"]["egress"]
    assert ports(api_server) == {6443}
    assert api_server["to"] == [{"ipBlock": {"cidr": "10.0.0.1/32"}}]
    assert more == extra


def test_policies_can_be_left_to_someone_else() -> None:
    assert not render({"networkPolicy": {"enabled": False}}).of_kind("NetworkPolicy")
