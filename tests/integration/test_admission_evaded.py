"""What was stored before the API server knew the rules ends as a condition, and disturbs nobody."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from specdec.api import names
from specdec.api.crd import custom_resource_definition
from tests.integration.conftest import OPERATOR, World
from tests.support.apiserver import ApiServer
from tests.support.bad_inputs import BAD_INPUTS, Bad
from tests.support.operator import operator
from tests.support.resource import stored

NAMESPACE = "before-the-rules"


def older_definition() -> dict[str, Any]:
    """The resource as an early version might have defined it: any spec will do."""
    definition = custom_resource_definition()
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = anything
    return definition


def name_of(bad: Bad) -> str:
    return bad.name if bad.name != "demo" else f"bad-{BAD_INPUTS.index(bad)}"


def wish(name: str, **spec: Any) -> dict[str, Any]:
    return stored(name, **spec) | {"metadata": {"name": name, "namespace": NAMESPACE}}


def apply(world: World, *bodies: dict[str, Any]) -> None:
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": bodies})
    world.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)


@pytest.fixture(scope="module")
def early() -> Iterator[World]:
    """A cluster with the older definition, every bad input stored, a good one beside them, and the operator."""
    with ApiServer(users={OPERATOR: ("system:masters",)}, audit=True) as api:
        api.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump(older_definition()))
        crd = f"crd/{names.PLURAL}.{names.GROUP}"
        api.kubectl("wait", "--for=condition=Established", "--timeout=120s", crd)
        api.kubectl("create", "namespace", NAMESPACE)
        world = World(api, NAMESPACE)
        apply(world, wish("good"), *(wish(name_of(bad), **bad.spec) for bad in BAD_INPUTS))
        with operator(world.kubeconfig):
            yield world


@pytest.mark.parametrize("bad", BAD_INPUTS, ids=lambda bad: bad.id)
def test_it_is_told_as_stalled_in_the_words_of_admission(early: World, bad: Bad) -> None:
    condition = early.wait_condition(name_of(bad), "Stalled")
    assert condition["reason"] == "InvalidSpec"
    assert f"{bad.path}: {bad.said}" in condition["message"]


def test_nothing_is_made_for_it_and_its_neighbour_is_served(early: World) -> None:
    early.wait_for("deployment/good")
    for bad in BAD_INPUTS:
        early.wait_condition(name_of(bad), "Stalled")
    assert [each["metadata"]["name"] for each in early.items("deployments")] == ["good"]


def test_an_event_says_it_once(early: World) -> None:
    name = name_of(BAD_INPUTS[0])
    early.wait_condition(name, "Stalled")
    events = [event for event in early.events(name) if event["reason"] == "InvalidSpec"]
    assert [event["type"] for event in events] == ["Warning"]


def test_a_bad_edit_leaves_what_runs_and_its_repair_goes_on(early: World) -> None:
    early.wait_for("deployment/good")
    early.wait_condition("good", "Stalled", "False")
    before = early.get("deployment", "good")["spec"]
    apply(early, wish("good", tuning={"max": 9}))
    assert "spec.tuning.max" in early.wait_condition("good", "Stalled")["message"]
    assert early.get("deployment", "good")["spec"] == before
    apply(early, wish("good", tuning={"max": 6}, replicas=2))
    early.wait_condition("good", "Stalled", "False")
    early.wait_for("deployment/good")
    assert early.get("deployment", "good")["spec"]["template"] == before["template"]
