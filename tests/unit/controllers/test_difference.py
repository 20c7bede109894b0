"""What is written and removed, and above all what is not."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from specdec.api.decision import AcceptedDecision
from specdec.api.manifest import Manifest
from specdec.api.names import API_VERSION, KIND
from specdec.controllers.difference import difference, unmet
from specdec.desired import manifests
from tests.support.resource import resource

ACCEPTED = AcceptedDecision(revision=1, switching="Live", start_k=7)
DESIRED = manifests(resource(), ACCEPTED)
OTHERS = {"apiVersion": API_VERSION, "kind": KIND, "name": "other", "uid": "another-uid"}


def live(manifest: Manifest, **more: Any) -> dict[str, Any]:
    """As a server returns it: with what it adds."""
    body = copy.deepcopy(manifest.body)
    body["metadata"] |= {"uid": "u", "resourceVersion": "1", **more}
    body["status"] = {}
    return body


def test_what_stands_as_desired_is_left() -> None:
    assert not difference(DESIRED, map(live, DESIRED))


def test_what_is_missing_is_written_in_the_order_of_the_manifests() -> None:
    found = difference(DESIRED, [])
    assert [write.manifest for write in found.writes] == list(DESIRED)
    assert {write.why for write in found.writes} == {"missing"}
    assert all(write.live is None for write in found.writes)


def test_another_rendering_is_written() -> None:
    changed = manifests(resource(replicas=3), ACCEPTED)
    writes = difference(changed, map(live, DESIRED)).writes
    assert [(write.manifest.kind, write.why) for write in writes] == [("Deployment", "desired otherwise")]


def test_a_field_that_somebody_changed_is_named() -> None:
    bodies = [live(manifest) for manifest in DESIRED]
    service = next(body for body in bodies if body["kind"] == "Service")
    service["spec"]["selector"]["specdec.dev/resource"] = "other"
    (write,) = difference(DESIRED, bodies).writes
    assert write.why == "changed by others at .spec.selector.specdec.dev/resource"


@pytest.mark.parametrize(
    ("more", "pruned"),
    [
        pytest.param({}, True, id="ours"),
        pytest.param({"ownerReferences": []}, False, id="only labelled like ours"),
        pytest.param({"ownerReferences": [OTHERS]}, False, id="another resource's, labelled like ours"),
        pytest.param({"deletionTimestamp": "2026-01-01T00:00:00Z"}, False, id="on its way out"),
    ],
)
def test_what_nothing_asks_for_is_removed(more: dict[str, Any], pruned: bool) -> None:
    bodies = [live(manifest) for manifest in DESIRED]
    stray = live(next(m for m in DESIRED if m.kind == "Service"), name="stray", **more)
    assert bool(difference(DESIRED, [*bodies, stray]).prune) is pruned


@pytest.mark.parametrize("kind", ["PersistentVolumeClaim", "Secret", "ConfigMap"])
def test_what_holds_state_is_never_removed(kind: str) -> None:
    stray = live(DESIRED[0], name="stray") | {"kind": kind}
    assert not difference(DESIRED, [stray]).prune


@pytest.mark.parametrize(
    ("wanted", "found", "where"),
    [
        pytest.param({"a": 1}, {"a": 1, "b": 2}, None, id="more than wanted"),
        pytest.param({"a": {"b": 1}}, {"a": {"b": 2}}, ".a.b", id="another value"),
        pytest.param({"a": {}}, {}, None, id="an empty struct that the server drops"),
        pytest.param({"a": False, "b": "", "c": 0}, {}, None, id="values that the server drops"),
        pytest.param({"a": 1}, {}, ".a", id="gone"),
        pytest.param({"e": [{"name": "x", "v": 1}]}, {"e": [{"name": "y"}, {"name": "x", "v": 1}]}, None, id="by name"),
        pytest.param({"e": [{"name": "x"}]}, {"e": []}, ".e[x]", id="a named item is gone"),
        pytest.param(
            {"p": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]},
            {"p": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]},
            None,
            id="one port, two protocols",
        ),
        pytest.param({"a": ["x"]}, {"a": ["x", "y"]}, ".a", id="a plain list is compared whole"),
        pytest.param({"limits": {"cpu": "1000m"}}, {"limits": {"cpu": "1"}}, None, id="an amount written otherwise"),
        pytest.param({"limits": {"cpu": "1"}}, {"limits": {"cpu": "2"}}, ".limits.cpu", id="another amount"),
        pytest.param({"args": ["1000m"]}, {"args": ["1"]}, ".args[0]", id="no amount at all"),
    ],
)
def test_what_others_added_does_not_count_and_what_they_changed_does(
    wanted: Any, found: Any, where: str | None
) -> None:
    assert unmet(wanted, found) == where
