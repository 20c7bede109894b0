"""A checkpoint that is lost or damaged restarts no pod, not even under a version that renders pods otherwise."""

import json
from typing import Any

import pytest

from specdec.desired.template import pod_template
from specdec.kube.kinds import Name
from tests.integration.conftest import World
from tests.support.operator import in_process


@pytest.fixture
def other_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version of the operator that renders one thing more into each pod."""

    def rendered(*arguments: Any) -> dict[str, Any]:
        template = pod_template(*arguments)
        template["spec"]["containers"][0]["env"].append({"name": "NEW_IN_THIS_VERSION", "value": "1"})
        return template

    monkeypatch.setattr("specdec.desired.plan.pod_template", rendered)


@pytest.fixture
async def demo(world: World) -> World:
    world.apply("demo")
    await settled(world)
    return world


async def settled(world: World) -> None:
    async with in_process(world.kubeconfig) as life:
        await life.settle(Name(world.namespace, "demo"), 3)


def running(world: World) -> dict[str, Any]:
    """What pods are made from: a Deployment replaces them when anything in it changes, and not else."""
    template: dict[str, Any] = world.get("deployment", "demo")["spec"]["template"]
    return template


async def test_a_lost_checkpoint_restarts_nothing(demo: World, request: pytest.FixtureRequest) -> None:
    before = running(demo)
    demo.kubectl("delete", "configmap", "demo-checkpoint")
    request.getfixturevalue("other_version")
    await settled(demo)
    assert running(demo) == before
    assert demo.get("configmap", "demo-checkpoint")


async def test_a_damaged_checkpoint_restarts_nothing_and_is_kept(demo: World, request: pytest.FixtureRequest) -> None:
    before = running(demo)
    demo.kubectl("patch", "configmap", "demo-checkpoint", "-p", json.dumps({"data": {"checkpoint.json": "{damaged"}}))
    request.getfixturevalue("other_version")
    await settled(demo)
    assert running(demo) == before
    data = demo.get("configmap", "demo-checkpoint")["data"]
    assert data["unreadable-checkpoint"] == "{damaged"
    assert json.loads(data["checkpoint.json"])["accepted"]["startK"] == 7
    assert "CheckpointUnreadable" in {event["reason"] for event in demo.events("demo")}
    await settled(demo)
    assert demo.get("configmap", "demo-checkpoint")["data"] == data


async def test_an_edit_made_while_the_checkpoint_was_lost_is_followed(demo: World) -> None:
    demo.kubectl("delete", "configmap", "demo-checkpoint")
    demo.apply("demo", engine={"image": "specdec/vllm:next"})
    await settled(demo)
    assert running(demo)["spec"]["containers"][0]["image"] == "specdec/vllm:next"
