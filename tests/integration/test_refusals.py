"""What the API server does not take: it is told with its remedy, tried again, and holds up nothing else."""

import asyncio
import json
from typing import Any

import pytest

from specdec.controllers.retries import LONGEST_PAUSE_SECONDS
from specdec.kube.kinds import Name
from tests.integration.conftest import NARROW, World
from tests.support.fleet import Fleet, eventually
from tests.support.operator import in_process
from tests.support.patience import PATIENCE_SECONDS


async def test_a_side_child_that_is_refused_does_not_slow_the_tuner(world: World) -> None:
    name = Name(world.namespace, "demo")
    world.apply("demo", monitoring={"podMonitor": True, "scrapeIntervalSeconds": 5})
    async with in_process(world.kubeconfig) as life:
        await life.settle(name)
        with Fleet(world.api, world.namespace) as fleet:
            fleet.follow()
            await life.one_pass(name)
            standing = await life.standing(name)
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not standing.unread:  # noqa: ASYNC110 - what is waited for happens in another process
                    await asyncio.sleep(0.01)
            again = await life.one_pass(name)
    assert world.condition("demo", "Stalled")["reason"] == "ChildRefused"
    assert "install the definition" in world.condition("demo", "Stalled")["message"]
    assert world.condition("demo", "MetricsAvailable")["status"] == "True"
    assert again.seconds is not None
    assert again.seconds <= 5


def forbid(world: World, resource: str) -> None:
    """A quota of none, as the quota controller would have counted it."""
    world.kubectl("create", "quota", "none", f"--hard=count/{resource}=0")
    counted = json.dumps({"status": {"hard": {f"count/{resource}": "0"}, "used": {f"count/{resource}": "0"}}})
    world.kubectl("patch", "quota", "none", "--subresource=status", "--type=merge", "-p", counted)


async def test_a_checkpoint_that_is_refused_is_told_and_nothing_acts_on_it(world: World) -> None:
    name = Name(world.namespace, "demo")
    forbid(world, "configmaps")
    world.apply("demo")
    async with in_process(world.kubeconfig) as life:
        again = await life.one_pass(name)
        assert again.seconds is not None
        assert again.seconds <= LONGEST_PAUSE_SECONDS
        stalled = world.condition("demo", "Stalled")
        assert (stalled["status"], stalled["reason"]) == ("True", "ChildRefused")
        assert "ConfigMap" in stalled["message"]
        assert "exceeded quota" in stalled["message"]
        assert "raise the ResourceQuota" in stalled["message"]
        assert "ChildRefused" in {event["reason"] for event in world.events("demo")}
        assert not world.get("deployment", "demo")
        world.kubectl("delete", "quota", "none")

    async with in_process(world.kubeconfig) as life:
        await life.settle(name)
        assert world.get("deployment", "demo")
        assert world.condition("demo", "Stalled")["status"] == "False"


async def test_what_a_policy_denies_is_told_with_the_policys_words(world: World) -> None:
    name = Name(world.namespace, "demo")
    deny_config_maps(world)
    world.apply("demo")
    async with in_process(world.kubeconfig) as life:
        await life.one_pass(name)
    message = world.condition("demo", "Stalled")["message"]
    assert "no maps here" in message
    assert "do as the cluster's policy says" in message


def deny_config_maps(world: World) -> None:
    """A policy of this namespace, in force."""
    group, name = "admissionregistration.k8s.io/v1", world.namespace
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE"]}
    spec = {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "false", "message": "no maps here"}],
    }
    here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
    binding = {"policyName": name, "validationActions": ["Deny"], "matchResources": here}
    for kind, content in (("ValidatingAdmissionPolicy", spec), ("ValidatingAdmissionPolicyBinding", binding)):
        body = {"apiVersion": group, "kind": kind, "metadata": {"name": name}, "spec": content}
        world.kubectl("apply", "-f", "-", stdin=json.dumps(body))

    def denied() -> bool:
        try:
            world.kubectl("create", "configmap", "probe", "--dry-run=server")
        except AssertionError as error:
            return "no maps here" in str(error)
        return False

    eventually("the policy is in force", denied)


async def test_a_control_secret_that_is_refused_is_told(world: World) -> None:
    name = Name(world.namespace, "demo")
    forbid(world, "secrets")
    world.apply("demo")
    async with in_process(world.kubeconfig) as life:
        again = await life.one_pass(name)
    assert again.seconds is not None
    stalled = world.condition("demo", "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "ChildRefused")
    assert "demo-control" in stalled["message"]
    assert world.get("deployment", "demo"), "pods wait for the Secret by themselves"


async def test_secrets_that_may_not_be_read_are_told(world: World) -> None:
    name = Name(world.namespace, "demo")
    bind(world, "all-but-secrets", ["apps", "policy", "networking.k8s.io", "specdec.dev"], ["*"])
    bind(world, "core-but-secrets", [""], ["configmaps", "services", "serviceaccounts", "pods", "events"])
    bind(world, "claims", [""], ["persistentvolumeclaims"])
    world.apply("demo")
    async with in_process(world.api.kubeconfig_for(NARROW)) as life:
        await life.one_pass(name)
    stalled = world.condition("demo", "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "ChildRefused")
    assert 'cannot get resource "secrets"' in stalled["message"]
    assert "grant the operator this right" in stalled["message"]


def bind(world: World, role: str, groups: list[str], resources: list[str]) -> None:
    """A right of the narrow user, in the whole cluster."""
    name = f"{world.namespace}-{role}"
    rules = [{"apiGroups": groups, "resources": resources, "verbs": ["*"]}]
    body = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}}
    world.kubectl("apply", "-f", "-", stdin=json.dumps({**body, "rules": rules}))
    world.kubectl("create", "clusterrolebinding", name, f"--clusterrole={name}", f"--user={NARROW}")


@pytest.mark.parametrize(
    ("kind", "name", "content"),
    [
        pytest.param("ServiceAccount", "demo-engine", {}, id="account"),
        pytest.param("ConfigMap", "demo-checkpoint", {"data": {"a": "theirs"}}, id="checkpoint"),
        pytest.param("Secret", "demo-control", {"stringData": {"a": "theirs"}}, id="control token"),
        pytest.param(
            "PersistentVolumeClaim",
            "demo-cache",
            {"spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Ti"}}}},
            id="cache",
        ),
    ],
)
async def test_what_is_anothers_is_not_made_ours(world: World, kind: str, name: str, content: dict[str, Any]) -> None:
    theirs = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **content}
    world.kubectl("create", "-f", "-", stdin=json.dumps(theirs))
    before = world.get(kind, name)
    world.apply("demo", engine={"cache": {"size": "1Ti"}})
    async with in_process(world.kubeconfig) as life:
        await life.settle(Name(world.namespace, "demo"), 2)
    assert world.get(kind, name) == before, "with our owner reference it would go with the resource"
    stalled = world.condition("demo", "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "ChildNameTaken")
    assert name in stalled["message"]
