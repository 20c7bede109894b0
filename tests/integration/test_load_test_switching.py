"""The arms of a load test on real parts: API server, operator process, kubectl, a simulated engine as the pod."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from loadtests.arms import Arm, parse_arms
from loadtests.live import LiveEngines
from loadtests.records import Event, RunInfo, Sample, Target, read_rows
from loadtests.resource import Resource
from loadtests.switching import ByResource, PausedResource
from loadtests.watching import Watching
from tests.cluster import tools
from tests.integration.conftest import World
from tests.integration.test_tuning_live import FAST
from tests.support.fleet import Fleet, PodProcess, eventually
from tests.support.operator import operator

LEASE: Final = ("get", "lease", "specdec-operator", "-n", "default", "-o", "jsonpath={.spec.renewTime}")


@pytest.fixture
def fleet(world: World) -> Iterator[Fleet]:
    with operator(world.kubeconfig), Fleet(world.api, world.namespace, {"SEED": "1"}) as fleet:
        yield fleet


@pytest.fixture
def pod(world: World, fleet: Fleet) -> PodProcess:
    """The engine of the only replica, once the operator has scraped it."""
    world.apply("demo", replicas=1, **FAST)
    world.wait_for("deployment/demo")
    fleet.follow()
    world.wait_condition("demo", "Ready")
    world.wait_condition("demo", "MetricsAvailable")
    return next(iter(fleet.pods.values()))


def resource(world: World) -> Resource:
    return Resource("demo", world.namespace, str(world.kubeconfig), str(tools.path("kubectl")))


def in_force(pod: PodProcess) -> dict[str, Any]:
    schedule: dict[str, Any] = pod.get("/v1/speculation")["schedule"]
    return schedule


def ks(pod: PodProcess) -> set[int]:
    schedule = in_force(pod)
    return {0} if schedule["off"] else {entry["numSpeculativeTokens"] for entry in schedule["entries"]}


def passes(world: World) -> None:
    """Returns after the operator has lived on for a while: its Lease was renewed twice, which takes several scrapes."""
    for _ in range(2):
        seen = world.api.kubectl(*LEASE).stdout
        eventually("the Lease is renewed", lambda seen=seen: world.api.kubectl(*LEASE).stdout != seen)  # type: ignore[misc]


def test_arms_stay_in_force_while_paused_and_auto_has_its_own_again(
    world: World, pod: PodProcess, tmp_path: Path
) -> None:
    entries = [
        {"fromBatch": 1, "toBatch": 8, "numSpeculativeTokens": 5},
        {"fromBatch": 9, "toBatch": 64, "numSpeculativeTokens": 2},
    ]
    (tmp_path / "mine.json").write_text(json.dumps({"entries": entries}))
    before, own = world.get("specdep", "demo")["spec"], in_force(pod)["entries"]
    engines = LiveEngines((pod.url,), pod.token_file.read_text())
    with PausedResource(resource(world), engines) as switch:
        for arm, expected in zip(parse_arms(f"0,mine={tmp_path}/mine.json"), ({0}, {5, 2}), strict=True):
            switch.apply(arm)
            passes(world)
            switch.confirm(arm)
            assert ks(pod) == expected
        switch.apply(Arm("auto"))
        assert world.get("specdep", "demo")["spec"]["paused"] is False
        eventually("Auto has its own schedule again", lambda: in_force(pod)["entries"] == own)
    assert world.get("specdep", "demo")["spec"] == before
    eventually("the engine is as it was", lambda: in_force(pod)["entries"] == own)


def test_the_resource_alone_moves_k_gets_its_bounds_back_and_is_watched(
    world: World, pod: PodProcess, tmp_path: Path
) -> None:
    before = world.get("specdep", "demo")["spec"]
    info = RunInfo("a run", time.time(), (Target("demo", pod.url),), {}, "m")
    with Watching(info, tmp_path, {"demo": resource(world)}), ByResource(resource(world)) as switch:
        for arm in parse_arms("2,6"):
            switch.apply(arm)
            eventually(f"the engine has {arm.name}", lambda k=arm.k: ks(pod) == {k})  # type: ignore[misc]
            eventually("and that was seen", lambda k=arm.k: _seen_k(tmp_path) == k)  # type: ignore[misc]
            switch.confirm(arm)
        switch.apply(Arm("auto"))
    assert world.get("specdep", "demo")["spec"] == before
    told = [event.text for event in read_rows(tmp_path / "events.jsonl", Event) if event.kind == "schedule"]
    assert any(text.startswith("K by batch: 2 → 6") for text in told), told


def _seen_k(folder: Path) -> float | None:
    return next(iter([sample.k for sample in read_rows(folder / "series.jsonl", Sample)][-1:]), None)
