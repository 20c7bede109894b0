"""Which arms a sweep compares, how each is put in force, and that things are left as they were."""

import json
from pathlib import Path

import pytest

from loadtests.arms import Arm, ArmError, parse_arms
from loadtests.keepsake import Keepsake
from loadtests.resource import Resource, ResourceError
from loadtests.switching import ByResource
from specdec.api.schedule import Tier

KUBECTL = """#!/usr/bin/env python3
import json, sys, pathlib
state = pathlib.Path(__file__).with_name("resource.json")
resource = json.loads(state.read_text())
if "patch" in sys.argv:
    spec = json.loads(sys.argv[sys.argv.index("-p") + 1])["spec"]
    resource["spec"]["tuning"].update(spec.get("tuning", {}))
    resource["log"].append(spec)
    k = resource["spec"]["tuning"]["max"]
    if resource["follows"]:
        resource["status"] = {"speculation": {"schedule": [{"numSpeculativeTokens": k}]}}
    state.write_text(json.dumps(resource))
print(json.dumps(resource))
"""


def test_arms_are_read_as_written(tmp_path: Path) -> None:
    entries = [
        {"fromBatch": 1, "toBatch": 8, "numSpeculativeTokens": 7},
        {"fromBatch": 9, "toBatch": 64, "numSpeculativeTokens": 2},
    ]
    (tmp_path / "mine.json").write_text(json.dumps({"entries": entries}))
    arms = parse_arms(f"0,2-4,auto,mine={tmp_path}/mine.json")
    assert [arm.name for arm in arms] == ["K0", "K2", "K3", "K4", "auto", "mine"]
    assert arms[0].schedule(16).off
    assert arms[-1].schedule(256).tiers == (Tier(1, 8, 7), Tier(9, 256, 2))
    assert arms[-1].schedule(4).tiers == (Tier(1, 4, 7),)


@pytest.mark.parametrize("text", ["", "8", "3-1", "K3", "0,0", "a b=x", "mine=/nowhere.json"])
def test_arms_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(ArmError):
        parse_arms(text)


def test_auto_needs_the_operator() -> None:
    with pytest.raises(ArmError, match="--resource"):
        Arm("auto").schedule(8)


@pytest.fixture
def resource(tmp_path: Path) -> Resource:
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(KUBECTL)
    kubectl.chmod(0o755)
    write(tmp_path, follows=True)
    return Resource("r", "n", kubectl=str(kubectl))


def write(tmp_path: Path, *, follows: bool) -> None:
    start = {"spec": {"tuning": {"mode": "Recommend", "min": 2, "max": 6}}, "status": {}, "log": [], "follows": follows}
    (tmp_path / "resource.json").write_text(json.dumps(start))


def test_the_resource_is_bounded_to_one_k_and_gets_its_bounds_back(tmp_path: Path, resource: Resource) -> None:
    with ByResource(resource) as switch:
        switch.apply(Arm("K3", k=3))
        switch.apply(Arm("auto"))
    after = json.loads((tmp_path / "resource.json").read_text())
    assert [patch["tuning"] for patch in after["log"]] == [
        {"mode": "Auto", "min": 3, "max": 3},
        {"mode": "Auto", "min": 2, "max": 6},
        {"mode": "Recommend", "min": 2, "max": 6},
    ]


def test_a_resource_that_does_not_follow_is_named(tmp_path: Path, resource: Resource) -> None:
    write(tmp_path, follows=False)
    with ByResource(resource, follow_seconds=0.1) as switch, pytest.raises(ArmError, match="did not come to K = 3"):
        switch.apply(Arm("K3", k=3))


def test_speculation_off_is_beyond_the_resource(resource: Resource) -> None:
    with ByResource(resource) as switch, pytest.raises(ArmError, match="--engine"):
        switch.apply(Arm("K0", k=0))


def test_a_sweep_that_was_killed_puts_back_what_was_there_before_it(tmp_path: Path, resource: Resource) -> None:
    ByResource(resource, keepsake=Keepsake(tmp_path / "before.json")).__enter__().apply(Arm("K3", k=3))
    with ByResource(resource, keepsake=Keepsake(tmp_path / "before.json")):
        pass  # the same command again, after nobody could clean up
    after = json.loads((tmp_path / "resource.json").read_text())
    assert after["spec"]["tuning"] == {"mode": "Recommend", "min": 2, "max": 6}
    assert not (tmp_path / "before.json").exists()


def test_an_arm_that_did_not_last_is_named(tmp_path: Path, resource: Resource) -> None:
    with ByResource(resource) as switch:
        switch.apply(Arm("K3", k=3))
        switch.confirm(Arm("K3", k=3))
        with pytest.raises(ArmError, match="left K = 5 for K = 3"):
            switch.confirm(Arm("K5", k=5))


def test_what_kubectl_says_is_passed_on(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="cannot run kubectl"):
        Resource("r", "n", kubectl=str(tmp_path / "none")).get()
