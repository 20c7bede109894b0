"""The real operator with the rights that the chart grants it, on a real API server that writes an audit log."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.chart.rendering import NAMESPACE, Manifest, Rendered, render
from tests.chart.test_rights import Rights, rights
from tests.support.apiserver import ApiServer
from tests.support.resource import stored

OPERATOR = "operator"
LIMIT_SECONDS = 120.0
KINDS = ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")

# Granted, but not asked for in the course of this test: children that a later version may no longer want, and objects
# of someone else in the way of ours.
FOR_OTHER_DAYS: Rights = {
    ("", "services"): frozenset({"get", "delete"}),
    ("", "serviceaccounts"): frozenset({"delete"}),
    ("apps", "deployments"): frozenset({"get", "delete"}),
    ("policy", "poddisruptionbudgets"): frozenset({"get", "delete"}),
    ("networking.k8s.io", "networkpolicies"): frozenset({"get", "delete"}),
}


@pytest.fixture(scope="module")
def audited() -> Iterator[ApiServer]:
    with ApiServer(users={OPERATOR: ()}, audit=True) as server:
        for name in (NAMESPACE, "team-a", "team-b"):
            server.kubectl("create", "namespace", name)
        yield server


@pytest.fixture(
    params=[
        pytest.param(("team-a", []), id="in the whole cluster"),
        pytest.param(("team-b", ["team-b"]), id="in a list"),
    ]
)
def used(audited: ApiServer, request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Rights, Rights, list[str]]:
    """What was granted, what was used, and what was refused while the operator served one resource of every option."""
    namespace, served = request.param
    rendered = render({"watchNamespaces": served})
    before = len(audited.audit_events())
    with granted(audited, rendered), operator(audited, served, tmp_path / "log"):
        serve_everything(Namespace(audited, namespace))
    events = [event for event in audited.audit_events()[before:] if event["user"]["username"] == OPERATOR]
    refused = [event["requestURI"] for event in events if event["responseStatus"]["code"] == 403]
    return operator_rights(rendered), requested(events), refused


def test_the_operator_uses_all_that_it_is_granted_and_is_refused_nothing(
    used: tuple[Rights, Rights, list[str]],
) -> None:
    held, asked, refused = used
    assert not refused
    idle = {key: verbs - asked.get(key, frozenset()) for key, verbs in held.items()}
    assert {key: verbs for key, verbs in idle.items() if verbs} == FOR_OTHER_DAYS


@contextmanager
def granted(server: ApiServer, rendered: Rendered) -> Iterator[None]:
    """Definitions, and the chart's roles given to a user instead of the service account."""
    install(server, [rendered.one("CustomResourceDefinition"), pod_monitors()])
    roles = [to_user(item) for item in rendered.of_kind(*KINDS)]
    install(server, roles)
    yield
    server.kubectl("delete", "-f", "-", stdin=as_list(roles))
    server.kubectl("-n", NAMESPACE, "delete", "lease", "--all")


@contextmanager
def operator(server: ApiServer, namespaces: list[str], log: Path) -> Iterator[None]:
    command = [
        *(sys.executable, "-m", "specdec.cli.main", "run", f"--kubeconfig={server.kubeconfig_for(OPERATOR)}"),
        *(f"--lease-namespace={NAMESPACE}", "--lease-name=specdec-specdec-operator"),
        *("--health-port=0", "--metrics-port=0"),
        *(f"--namespace={name}" for name in namespaces),
    ]
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            yield
        except AssertionError as error:
            raise AssertionError(f"{error}\n{log.read_text()[-4000:]}") from error
        finally:
            process.terminate()
            process.wait(timeout=120)


@dataclass(frozen=True, slots=True)
class Namespace:
    """Where the resource of this test lives. No garbage collector runs here, so each run takes another."""

    server: ApiServer
    name: str

    def kubectl(self, *arguments: str) -> str:
        return self.server.kubectl("-n", self.name, *arguments).stdout

    def exists(self, *what: str) -> bool:
        return len(self.kubectl("get", *what, "--ignore-not-found", "-o", "name").split()) == len(what)

    def condition(self, kind: str) -> str:
        path = f"{{.status.conditions[?(@.type=='{kind}')].status}}"
        return self.kubectl("get", "specdep/everything", "-o", f"jsonpath={path}")

    def add_ready_pod(self) -> None:
        """As controllers and kubelet would make it, so that the operator has someone to talk to."""
        template = json.loads(self.kubectl("get", "deployment/everything", "-o", "json"))["spec"]["template"]
        metadata = {"name": "everything-0", "namespace": self.name, "labels": template["metadata"]["labels"]}
        install(self.server, [{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}])
        now = {"conditions": [{"type": "Ready", "status": "True"}], "podIP": "127.0.0.1", "phase": "Running"}
        patch = json.dumps({"status": now})
        self.kubectl("patch", "pod/everything-0", "--subresource=status", "--type=merge", "-p", patch)


def serve_everything(where: Namespace) -> None:
    """A resource with every kind of child and a pod that answers nothing, then without its PodMonitor, then gone."""
    where.kubectl("create", "secret", "generic", "api", "--from-literal=key=value")
    resource = stored(
        "everything",
        monitoring={"podMonitor": True},
        engine={"cache": {"size": "1Gi"}, "apiKeySecretRef": {"name": "api", "key": "key"}},
    )
    resource["metadata"] = {"name": "everything", "namespace": where.name}
    install(where.server, [resource])
    until(lambda: where.exists("deployment/everything", "podmonitor/everything-engine"))
    where.add_ready_pod()
    until(lambda: where.condition("MetricsAvailable") == "False")
    resource["spec"]["monitoring"] = {"podMonitor": False}
    install(where.server, [resource])
    until(lambda: not where.exists("podmonitor/everything-engine"))
    where.kubectl("delete", "specdep/everything")


def operator_rights(rendered: Rendered) -> Rights:
    """All that the operator's own roles grant; those of users and of the test are not its."""
    mine = [
        item
        for item in rendered.of_kind("Role", "ClusterRole")
        if not item["metadata"]["name"].endswith(("-view", "-edit", "-test"))
    ]
    granted: Rights = {}
    for role in mine:
        granted |= rights(role)
    return granted


def requested(events: list[dict[str, Any]]) -> Rights:
    found: dict[tuple[str, str], frozenset[str]] = {}
    for event in events:
        about = event.get("objectRef")
        if about is None or "resource" not in about:
            continue
        resource = "/".join(filter(None, [about["resource"], about.get("subresource")]))
        key = (about.get("apiGroup", ""), resource)
        verbs = {event["verb"]} | (
            {"create"} if event["verb"] == "patch" and event["responseStatus"]["code"] == 201 else set()
        )
        found[key] = found.get(key, frozenset()) | verbs
    return found


def to_user(item: Manifest) -> Manifest:
    if item["kind"].endswith("Binding"):
        return {**item, "subjects": [{"kind": "User", "name": OPERATOR, "apiGroup": "rbac.authorization.k8s.io"}]}
    return item


def pod_monitors() -> Manifest:
    """Enough of the Prometheus operator for PodMonitors to be stored."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "podmonitors.monitoring.coreos.com"},
        "spec": {
            "group": "monitoring.coreos.com",
            "names": {"kind": "PodMonitor", "plural": "podmonitors", "singular": "podmonitor"},
            "scope": "Namespaced",
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


def install(server: ApiServer, items: list[Manifest]) -> None:
    server.kubectl("apply", "--server-side", "-f", "-", stdin=as_list(items))
    for item in items:
        if item["kind"] == "CustomResourceDefinition":
            plural = item["spec"]["names"]["plural"]
            until(lambda plural=plural: served(server, plural))  # type: ignore[misc]


def served(server: ApiServer, plural: str) -> bool:
    """`kubectl wait` fails on a definition so new that it has no condition yet."""
    return server.kubectl("get", plural, "--all-namespaces", check=False).returncode == 0


def as_list(items: list[Manifest]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT_SECONDS
    while not holds():
        assert time.monotonic() < end, "the operator did not get there in time"
        time.sleep(0.2)
