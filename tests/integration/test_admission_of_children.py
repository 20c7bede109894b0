"""Every child that is rendered is taken by a real API server, field by field, and taking it twice changes nothing."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from specdec import desired
from specdec.api.decision import AcceptedDecision, RestartTrial
from specdec.api.manifest import Manifest
from specdec.api.resource import SpeculativeDeployment
from tests.support import examples
from tests.support.apiserver import ApiServer
from tests.support.resource import resource

TRIAL = AcceptedDecision(1, "Restart", 7, trial=RestartTrial(start_k=4))
HUB_TOKEN = {"name": "hub", "key": "token"}
EVERYTHING: dict[str, Any] = {
    "replicas": 2,
    "model": {"source": {"huggingFace": {"revision": "abc", "tokenSecretRef": HUB_TOKEN}}},
    "speculator": {"source": {"huggingFace": ..., "image": {"reference": "registry/drafter:1", "path": "weights"}}},
    "engine": {
        "maxModelLen": 4096,
        "args": ["--seed=1"],
        "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}, {"name": "B", "value": "b"}],
        "apiKeySecretRef": {"name": "api", "key": "key"},
        "cache": {"size": "1Ti", "storageClassName": "fast"},
        "resources": {"requests": {"cpu": "0.5", "memory": "1024Mi"}, "limits": {"cpu": 4}},
    },
    "placement": {
        "nodeSelector": {"pool": "gpu"},
        "tolerations": [
            {"key": "team", "operator": "Equal", "value": "a", "effect": "NoExecute", "tolerationSeconds": 5}
        ],
        "affinity": {"podAntiAffinity": {}},
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
        ],
    },
    "networkPolicy": {
        "extraIngress": [
            {
                "from": [{"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "Exists"}]}}],
                "ports": [{"port": "admin"}, {"port": 7000, "endPort": 7010, "protocol": "UDP"}],
            }
        ],
        "extraEgress": [
            {"to": [{"ipBlock": {"cidr": "10.1.0.0/16", "except": ["10.1.2.0/24"]}}], "ports": [{"port": 3128}]},
            {"to": [{"podSelector": {}, "namespaceSelector": {"matchLabels": {"team": "proxies"}}}]},
            {},
        ],
    },
    "podTemplate": {"metadata": {"labels": {"team": "search"}}, "spec": {"imagePullSecrets": [{"name": "registry"}]}},
}


@pytest.fixture(scope="module")
def api() -> Iterator[ApiServer]:
    with ApiServer() as server:
        labels = ("pod-security.kubernetes.io/enforce=restricted", "pod-security.kubernetes.io/warn=restricted")
        server.kubectl("label", "namespace", "default", *labels)
        yield server


def children(of: SpeculativeDeployment, accepted: AcceptedDecision) -> list[Manifest]:
    kept = [desired.control_secret(of, "secret"), desired.checkpoint(of, {"checkpoint.json": "{}"})]
    return [*kept, *desired.manifests(of, accepted)]


def apply(api: ApiServer, manifest: Manifest, *options: str) -> dict[str, Any]:
    """Server-side apply with strict checks; kubectl's answer. A warning fails the test."""
    arguments = (
        "apply",
        "--server-side",
        "--validate=strict",
        "--field-manager=specdec-operator",
        "-o",
        "json",
        "-f",
        "-",
    )
    done = api.kubectl(*arguments, *options, stdin=json.dumps(manifest.body))
    assert "Warning" not in done.stderr, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize(
    ("of", "accepted"),
    [
        *((example, AcceptedDecision(1, "Live", 7)) for path in examples.FILES for example in examples.resources(path)),
        (resource("everything", **EVERYTHING), TRIAL),
        (resource("by-restart", tuning={"switching": "Restart"}), AcceptedDecision(1, "Restart", 0)),
    ],
    ids=lambda value: value.name if isinstance(value, SpeculativeDeployment) else "",
)
def test_every_child_is_taken_without_a_warning(
    api: ApiServer, of: SpeculativeDeployment, accepted: AcceptedDecision
) -> None:
    for manifest in children(of, accepted):
        apply(api, manifest, "--dry-run=server")


def test_pods_are_allowed_where_only_restricted_ones_are(api: ApiServer) -> None:
    of = resource("restricted")
    apply(api, desired.manifests(of, TRIAL)[0])
    template = desired.manifests(of, TRIAL)[-1].body["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", **template}
    pod["metadata"] = {**template["metadata"], "name": "restricted", "namespace": "default"}
    done = api.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod))
    assert "Warning" not in done.stderr, done.stderr


def test_taking_a_child_again_changes_nothing(api: ApiServer) -> None:
    for manifest in children(resource("twice", **EVERYTHING), TRIAL):
        apply(api, manifest)  # a claim's first update adds a phase to its status, whatever the update says
        first, second = apply(api, manifest), apply(api, manifest)
        assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"], manifest.reference


def test_a_pod_monitor_names_its_endpoint_as_the_prometheus_operator_expects() -> None:
    """Its definition is not part of Kubernetes, so its form is held here against what its documentation says."""
    manifests = desired.manifests(resource(monitoring={"podMonitor": True}), TRIAL)
    monitor = next(manifest.body for manifest in manifests if manifest.kind == "PodMonitor")
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert set(monitor["spec"]) == {"selector", "podMetricsEndpoints", "podTargetLabels"}
