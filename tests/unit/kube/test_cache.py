"""What the cache shows after what watches, lists and writes have shown it."""

from __future__ import annotations

from typing import Any

import pytest

from specdec.kube.cache import Cache
from specdec.kube.kinds import DEPLOYMENT, POD, RESOURCE, Name

DEMO = Name("default", "demo")


def body(
    name: str = "demo", version: int = 1, owner: str | None = "demo", uid: str = "u1", **more: Any
) -> dict[str, Any]:
    labels = {"specdec.dev/resource": owner} if owner else {}
    metadata = {"namespace": "default", "name": name, "uid": uid, "resourceVersion": str(version), "labels": labels}
    return {"apiVersion": "v1", "kind": "X", "metadata": {**metadata, "managedFields": [{}]}, **more}


def cache() -> tuple[Cache, list[Name]]:
    woken: list[Name] = []
    return Cache(changed=woken.append), woken


def shown(known: Cache) -> dict[str, Any]:
    """The resource, which is there."""
    found = known.seen(DEMO).resource
    assert found is not None
    return found


def test_a_resource_is_seen_with_all_that_is_mapped_to_it() -> None:
    known, woken = cache()
    known.put(RESOURCE, body())
    known.put(DEPLOYMENT, body("demo", uid="u2"))
    known.put(POD, body("demo-1", uid="u3"))
    known.put(POD, body("other-1", owner="other", uid="u4"))
    seen = known.seen(DEMO)
    assert seen.resource is not None
    assert [child["kind"] for child in seen.children] == ["X"]
    assert [pod["metadata"]["name"] for pod in seen.pods] == ["demo-1"]
    assert woken == [DEMO, DEMO, DEMO, Name("default", "other")]


@pytest.mark.parametrize("owner", [pytest.param("quarantine", id="to another"), pytest.param(None, id="to none")])
def test_a_pod_whose_label_is_changed_leaves_its_owner(owner: str | None) -> None:
    known, woken = cache()
    known.put(POD, body("demo-1", version=1))
    woken.clear()
    known.put(POD, body("demo-1", version=2, owner=owner))
    assert known.seen(DEMO).pods == ()
    assert woken[0] == DEMO
    known.put(POD, body("demo-1", version=1))
    assert known.seen(DEMO).pods == (), "a list that began before shows the old label"
    known.drop(POD, body("demo-1", version=3, owner=owner))
    assert known.seen(DEMO).pods == known.seen(Name("default", "quarantine")).pods == ()


def test_a_pod_that_gets_its_label_back_returns_to_its_owner() -> None:
    known, _ = cache()
    for version, owner in enumerate(("demo", None, "demo", "quarantine", "demo"), start=1):
        known.put(POD, body("demo-1", version=version, owner=owner))
    assert len(known.seen(DEMO).pods) == 1
    assert known.seen(Name("default", "quarantine")).pods == ()


def test_what_is_not_ours_is_not_kept() -> None:
    known, woken = cache()
    known.put(DEPLOYMENT, body(owner=None))
    assert not woken
    assert known.seen(DEMO).children == ()


def test_an_older_version_never_replaces_a_newer() -> None:
    known, woken = cache()
    known.put(RESOURCE, body(version=10, spec={"a": 2}))
    known.put(RESOURCE, body(version=9, spec={"a": 1}))
    known.put(RESOURCE, body(version=10, spec={"a": 3}))
    assert shown(known)["spec"] == {"a": 2}
    assert len(woken) == 1


def test_an_object_made_anew_replaces_its_forerunner() -> None:
    known, _ = cache()
    known.put(RESOURCE, body(version=10))
    known.put(RESOURCE, body(version=11, uid="u9"))
    assert shown(known)["metadata"]["uid"] == "u9"
    known.put(RESOURCE, body(version=10))
    assert shown(known)["metadata"]["uid"] == "u9", "a list that began before shows the forerunner"


def test_a_late_deletion_of_the_forerunner_is_ignored() -> None:
    known, _ = cache()
    known.put(RESOURCE, body(uid="new"))
    known.drop(RESOURCE, body(uid="old"))
    assert known.seen(DEMO).resource is not None
    known.drop(RESOURCE, body(uid="new"))
    assert known.seen(DEMO).resource is None


def test_a_list_shows_what_is_gone() -> None:
    known, woken = cache()
    known.put(DEPLOYMENT, body("a", uid="a"))
    known.put(DEPLOYMENT, body("b", uid="b"))
    assert known.keep_only(DEPLOYMENT, None, frozenset({"a"}), "1") == 1
    assert [child["metadata"]["name"] for child in known.seen(DEMO).children] == ["a"]
    assert known.keep_only(DEPLOYMENT, "elsewhere", frozenset(), "9") == 0
    assert len(woken) == 3


def test_a_list_says_nothing_of_what_came_after_it() -> None:
    known, _ = cache()
    known.put(DEPLOYMENT, body("made-meanwhile", version=101, uid="a"))
    known.put(DEPLOYMENT, body("gone", version=100, uid="b"))
    assert known.keep_only(DEPLOYMENT, None, frozenset(), "100") == 1
    assert [child["metadata"]["name"] for child in known.seen(DEMO).children] == ["made-meanwhile"]


def test_what_was_deleted_while_a_list_ran_does_not_come_back_with_it() -> None:
    known, _ = cache()
    known.put(DEPLOYMENT, body(version=5, uid="a"))
    known.drop(DEPLOYMENT, body(version=7, uid="a"))
    known.put(DEPLOYMENT, body(version=5, uid="a"))
    assert known.seen(DEMO).children == ()
    known.put(DEPLOYMENT, body(version=8, uid="a"))
    assert len(known.seen(DEMO).children) == 1, "to a watch by label, an object that lost its label is deleted"


def test_an_answer_to_our_own_write_wakes_nobody() -> None:
    known, woken = cache()
    known.put(DEPLOYMENT, body(version=1), quietly=True)
    known.put(DEPLOYMENT, body(version=1))
    assert not woken


def test_of_pods_only_what_tells_how_they_fare_is_kept() -> None:
    known, _ = cache()
    spec = {"nodeName": "n", "containers": [{"env": ["secret"] * 100}]}
    known.put(POD, body("demo-1", spec=spec, status={"phase": "Running", "qosClass": "Guaranteed"}))
    (pod,) = known.seen(DEMO).pods
    assert pod["spec"] == {"nodeName": "n"}
    assert pod["status"] == {"phase": "Running"}
    assert "managedFields" not in pod["metadata"]
