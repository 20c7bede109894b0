"""The operator may do what it does and nothing else, in the whole cluster or in the namespaces that it is given."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.chart.rendering import CHART, NAMESPACE, Manifest, Rendered, render

Rights = dict[tuple[str, str], frozenset[str]]

WATCH = frozenset({"list", "watch"})
STATE = WATCH | {"get", "create", "patch"}
OWN = STATE | {"delete"}

SERVED: Rights = {
    ("specdec.dev", "speculativedeployments"): WATCH,
    ("specdec.dev", "speculativedeployments/status"): frozenset({"patch"}),
    ("apps", "deployments"): OWN,
    ("", "services"): OWN,
    ("", "serviceaccounts"): OWN,
    ("", "configmaps"): STATE,
    ("", "secrets"): frozenset({"get", "create", "patch"}),
    ("", "persistentvolumeclaims"): STATE,
    ("policy", "poddisruptionbudgets"): OWN,
    ("networking.k8s.io", "networkpolicies"): OWN,
    ("", "pods"): WATCH,
    ("", "events"): frozenset({"create"}),
    ("monitoring.coreos.com", "podmonitors"): frozenset({"get", "create", "patch", "delete"}),
}
LEASE: Rights = {("coordination.k8s.io", "leases"): frozenset({"create", "get", "update"})}


def rights(role: Manifest) -> Rights:
    """What a role grants, by API group and resource."""
    granted: dict[tuple[str, str], frozenset[str]] = {}
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                key = (group, resource)
                granted[key] = granted.get(key, frozenset()) | frozenset(rule["verbs"])
    return granted


def subjects(rendered: Rendered, kind: str, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = rendered.one(kind, name)["subjects"]
    return found


ACCOUNT = [{"kind": "ServiceAccount", "name": "specdec-specdec-operator", "namespace": NAMESPACE}]


def test_the_cluster_role_grants_exactly_what_the_operator_uses() -> None:
    rendered = render()
    assert rights(rendered.one("ClusterRole", "specdec-specdec-operator")) == SERVED
    assert subjects(rendered, "ClusterRoleBinding", "specdec-specdec-operator") == ACCOUNT
    assert not [role for role in rendered.of_kind("Role") if role["metadata"]["name"] == "specdec-specdec-operator"]


def test_with_a_list_of_namespaces_each_gets_a_role_and_the_cluster_none() -> None:
    rendered = render({"watchNamespaces": ["team-a", "team-b"], "rbac": {"aggregate": False}})
    roles = [role for role in rendered.of_kind("Role") if role["metadata"]["name"] == "specdec-specdec-operator"]
    assert {role["metadata"]["namespace"] for role in roles} == {"team-a", "team-b"}
    assert all(rights(role) == SERVED for role in roles)
    bindings = [
        item for item in rendered.of_kind("RoleBinding") if item["metadata"]["name"] == "specdec-specdec-operator"
    ]
    assert {item["metadata"]["namespace"] for item in bindings} == {"team-a", "team-b"}
    assert all(item["subjects"] == ACCOUNT for item in bindings)
    assert not rendered.of_kind("ClusterRole", "ClusterRoleBinding")


@pytest.mark.parametrize("values", [{}, {"watchNamespaces": ["team-a"]}])
def test_the_lease_is_the_only_right_in_the_operators_own_namespace(values: dict[str, Any]) -> None:
    rendered = render(values)
    role = rendered.one("Role", "specdec-specdec-operator-lease")
    assert role["metadata"]["namespace"] == NAMESPACE
    assert rights(role) == LEASE
    named = [rule for rule in role["rules"] if "create" not in rule["verbs"]]
    assert [rule["resourceNames"] for rule in named] == [["specdec-specdec-operator"]]
    assert subjects(rendered, "RoleBinding", "specdec-specdec-operator-lease") == ACCOUNT


def test_no_rule_of_the_operator_has_a_wildcard_or_reaches_nodes_or_rights() -> None:
    for role in render().of_kind("ClusterRole", "Role"):
        for (group, resource), verbs in rights(role).items():
            assert "*" not in {group, resource, *verbs}
            assert group != "rbac.authorization.k8s.io"
            assert not verbs & {"impersonate", "escalate", "bind"}


def test_viewers_may_look_and_editors_may_change() -> None:
    rendered = render()
    viewers = rendered.one("ClusterRole", "specdec-specdec-operator-view")
    assert viewers["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-view"] == "true"
    assert set().union(*rights(viewers).values()) == {"get", "list", "watch"}
    editors = rights(rendered.one("ClusterRole", "specdec-specdec-operator-edit"))
    assert "create" in editors["specdec.dev", "speculativedeployments"]
    assert editors["specdec.dev", "speculativedeployments/scale"] == {"update", "patch"}
    assert ("specdec.dev", "speculativedeployments/status") not in editors


def test_rights_can_be_left_to_someone_else() -> None:
    rendered = render({"rbac": {"create": False, "aggregate": False}})
    hooks = {item["metadata"]["name"] for item in rendered if "helm.sh/hook" in item["metadata"].get("annotations", {})}
    kinds = ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
    assert {item["metadata"]["name"] for item in rendered.of_kind(*kinds)} <= hooks


def test_the_documentation_lists_the_same_rights() -> None:
    text = (CHART.parents[1] / "docs" / "operations.md").read_text()
    listed: Rights = {}
    for groups, resources, verbs in re.findall(
        r"^\| (`[\w.`, ]+|core) \| (`[^|]+?) \| ([a-z, ]+) \|", text, re.MULTILINE
    ):
        found = ["" if word == "core" else word.strip("` ") for word in groups.split(",")]
        for number, resource in enumerate(re.findall(r"`([\w/]+)`", resources)):
            listed[found[min(number, len(found) - 1)], resource] = frozenset(verbs.replace(" ", "").split(","))
    assert listed == SERVED | LEASE
