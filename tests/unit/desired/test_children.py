"""The children beside the pods, and golden manifests of the examples."""

import base64
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from specdec import desired
from specdec.api.decision import AcceptedDecision
from specdec.api.manifest import Manifest
from tests.support import examples
from tests.support.resource import resource

LIVE = AcceptedDecision(1, "Live", 7)
GOLDEN = Path(__file__).parent / "golden"


def children(**spec: Any) -> dict[str, Manifest]:
    return {manifest.kind: manifest for manifest in desired.manifests(resource(**spec), LIVE)}


def test_what_a_pod_needs_comes_before_its_deployment() -> None:
    kinds = list(children(engine={"cache": {"size": "1Ti"}}, monitoring={"podMonitor": True}))
    assert kinds == [
        "ServiceAccount",
        "NetworkPolicy",
        "Service",
        "PodDisruptionBudget",
        "PersistentVolumeClaim",
        "PodMonitor",
        "Deployment",
    ]


def test_a_claim_and_a_pod_monitor_come_only_when_asked_for() -> None:
    assert {"PersistentVolumeClaim", "PodMonitor"}.isdisjoint(children())
    assert "PersistentVolumeClaim" not in children(engine={"cache": {"existingClaim": "mine"}})


def test_every_child_belongs_to_its_resource() -> None:
    kept = (desired.control_secret(resource(), "secret"), desired.checkpoint(resource(), {}))
    for manifest in (*children().values(), *kept):
        metadata = manifest.body["metadata"]
        assert metadata["ownerReferences"][0]["uid"] == "0f9a-uid"
        assert metadata["ownerReferences"][0]["controller"] is True
        assert metadata["labels"]["specdec.dev/resource"] == "demo"
        assert metadata["namespace"] == "default"


def test_the_digest_changes_with_the_manifest_and_with_nothing_else() -> None:
    digests = [
        children(**spec)["Deployment"].body["metadata"]["annotations"]["specdec.dev/manifest-digest"]
        for spec in ({}, {}, {"replicas": 2})
    ]
    assert digests[0] == digests[1] != digests[2]


def test_a_full_node_can_still_roll() -> None:
    assert children()["Deployment"].body["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0},
    }


def test_a_paused_resource_pauses_its_deployment() -> None:
    assert children(paused=True)["Deployment"].body["spec"]["paused"] is True


def test_the_rollout_deadline_outlasts_start_and_drain() -> None:
    deployment = children(engine={"startupTimeoutSeconds": 3600, "drainSeconds": 600})["Deployment"]
    assert deployment.body["spec"]["progressDeadlineSeconds"] > 4200


def test_the_network_policy_lets_the_hub_be_reached_only_when_weights_come_from_it() -> None:
    def ports(**spec: Any) -> set[int]:
        egress = children(**spec)["NetworkPolicy"].body["spec"]["egress"]
        return {port["port"] for rule in egress for port in rule["ports"]}

    volume = {"huggingFace": ..., "pvc": {"claimName": "weights"}}
    assert ports() == {53, 5353, 443}
    assert ports(model={"source": volume}, speculator={"source": volume}) == {53, 5353}


def test_the_network_policy_takes_further_rules_as_kubernetes_has_them() -> None:
    proxy = {"to": [{"ipBlock": {"cidr": "10.1.0.0/16", "except": ["10.1.2.0/24"]}}], "ports": [{"port": 3128}]}
    everyone: dict[str, Any] = {"to": [{"podSelector": {}}]}
    sidecar: dict[str, Any] = {
        "from": [
            {"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "In", "values": ["a", "b"]}]}}
        ],
        "ports": [{"port": "admin", "protocol": "TCP"}, {"port": 7000, "endPort": 7010, "protocol": "UDP"}],
    }
    policy = {"extraEgress": [proxy, everyone], "extraIngress": [sidecar]}
    before = children()["NetworkPolicy"].body["spec"]
    made = children(networkPolicy=policy)["NetworkPolicy"].body["spec"]
    assert made["egress"] == [*before["egress"], proxy, everyone]
    sidecar["ports"][0].pop("protocol")
    assert made["ingress"] == [*before["ingress"], sidecar]


def test_the_network_policy_can_be_left_to_someone_else() -> None:
    assert "NetworkPolicy" not in children(networkPolicy={"enabled": False})


def test_the_claim_is_as_asked() -> None:
    cache = {"size": "1Ti", "storageClassName": "fast", "accessMode": "ReadWriteOnce"}
    claim = children(engine={"cache": cache})["PersistentVolumeClaim"].body["spec"]
    assert claim == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Ti"}},
        "storageClassName": "fast",
    }


def test_the_pod_monitor_scrapes_the_engines() -> None:
    monitor = children(monitoring={"podMonitor": True, "scrapeIntervalSeconds": 20})["PodMonitor"].body["spec"]
    assert monitor["podMetricsEndpoints"] == [{"port": "http", "path": "/metrics", "interval": "20s"}]


def test_the_control_token_is_kept_in_a_secret() -> None:
    secret = desired.control_secret(resource(), "s3cret").body
    assert base64.b64decode(secret["data"]["token"]) == b"s3cret"
    assert secret["metadata"]["name"] == "demo-control"


def test_the_checkpoint_holds_what_it_is_given() -> None:
    assert desired.checkpoint(resource(), {"checkpoint.json": "{}"}).body["data"] == {"checkpoint.json": "{}"}


@pytest.mark.parametrize("name", ["deepseek-v4-flash", "deepseek-v4-flash-simulated", "minimal"])
def test_the_examples_render_as_reviewed(name: str) -> None:
    """After a wanted change: `UPDATE_GOLDEN=1 pytest` and read the difference."""
    of = examples.resources(examples.EXAMPLES / f"{name}.yaml")[0]
    rendered = [manifest.body for manifest in desired.manifests(of, LIVE)]
    path = GOLDEN / f"{name}.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump_all(rendered, sort_keys=False, width=120))
    assert list(yaml.safe_load_all(path.read_text())) == rendered
