"""Replicas, outages and silence: one acts, nothing is lost, and nobody writes while nothing changes."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace

import pytest

from specdec.controllers.engines import Round
from specdec.kube.client import KubeClient, Page
from specdec.kube.kinds import RESOURCE, Kind, Name
from tests.integration.conftest import CRD, OPERATOR, World
from tests.support.apiserver import ApiServer
from tests.support.fleet import Fleet, eventually
from tests.support.operator import InProcess, in_process, operator

IDLE_SECONDS = 3600
SCRAPE_SECONDS = 15


@pytest.fixture
def own_api() -> Iterator[ApiServer]:
    """A server of this test's own, to be stopped and started."""
    with ApiServer(users={OPERATOR: ("system:masters",)}, audit=True) as server:
        server.kubectl("apply", "--server-side", "-f", str(CRD))
        server.kubectl("wait", "--for=condition=Established", "--timeout=120s", "-f", str(CRD))
        yield server


def lease(world: World) -> list[str]:
    return [f"--lease-namespace={world.namespace}", f"--namespace={world.namespace}"]


def test_of_two_replicas_the_other_acts_at_once_when_one_is_stopped(world: World) -> None:
    with (
        operator(world.kubeconfig, *lease(world)) as first,
        operator(world.kubeconfig, *lease(world), leading=False) as second,
    ):
        world.apply("one")
        world.wait_for("deployment/one")
        eventually("both are healthy", lambda: first.healthy() and second.healthy())
        assert not second.leads()
        held = world.get("lease", "specdec-operator")["spec"]["holderIdentity"]
        assert first.stop() == 0
        assert world.get("lease", "specdec-operator")["spec"]["holderIdentity"] != held, "it is handed back, not left"
        eventually("the other acts", second.leads)
        before = world.writes()
        world.apply("two")
        world.wait_for("deployment/two")
        assert not [write for write in world.writes()[len(before) :] if "one" in write.split()[-1]]


def test_a_killed_replica_is_followed_when_its_lease_is_over(world: World) -> None:
    with (
        operator(world.kubeconfig, *lease(world)) as first,
        operator(world.kubeconfig, *lease(world), leading=False) as second,
    ):
        eventually("the other is up", second.healthy)
        first.kill()
        world.apply("demo")
        eventually("the other acts", second.leads)
        world.wait_for("deployment/demo")


def test_an_operator_outlives_an_outage_of_the_api_server(own_api: ApiServer) -> None:
    world = World(own_api, "default")
    with operator(world.kubeconfig) as process:
        world.apply("before")
        world.wait_for("deployment/before")
        own_api.stop_server()
        eventually("it acts no longer", lambda: process.metric("specdec_operator_leading") == 0.0)
        assert process.healthy()
        own_api.start_server()
        eventually("it acts again", process.leads)
        world.apply("after")
        world.wait_for("deployment/after")
        world.kubectl("delete", "service", "before", "--wait=false")
        eventually("watches are alive", lambda: world.get("service", "before"))
        assert process.process.poll() is None


async def test_a_deletion_that_no_watch_showed_is_noticed_by_the_next_list(world: World) -> None:
    name = Name(world.namespace, "demo")
    world.apply("demo")
    async with in_process(world.kubeconfig) as life:
        await life.settle(name)
        world.kubectl("delete", "service", "demo")
        assert (await life.operator.reconciler.work(name)).gone is False
        assert not world.get("service", "demo")
        await life.one_pass(name)
        assert world.get("service", "demo")
        world.kubectl("delete", "specdep", "demo")
        assert (await life.one_pass(name)).gone


async def test_a_pass_over_a_resource_whose_pods_wait_keeps_its_series_and_reads_no_secret(world: World) -> None:
    name = Name(world.namespace, "demo")
    world.apply("demo")
    async with in_process(world.kubeconfig) as life:
        await life.settle(name)
        template = world.get("deployment", "demo")["spec"]["template"]
        pod = {"apiVersion": "v1", "kind": "Pod", **template, "metadata": {**template["metadata"], "name": "demo-1"}}
        world.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
        await life.one_pass(name)
        shown, gets = dict(life.operator.metrics.conditions._stands), []
        life.operator.client.observer = lambda verb, _status, _seconds: gets.append(verb)
        for _ in range(3):
            await life.operator.reconciler.work(name)
        after = dict(life.operator.metrics.conditions._stands)
    assert shown
    assert after[name] is shown[name], "a gap restarts the `for` of an alert"
    assert gets == []


async def test_a_replica_that_no_longer_acts_tells_of_no_resource(world: World) -> None:
    name = Name(world.namespace, "demo")
    world.apply("demo")
    async with in_process(world.kubeconfig) as life:
        await life.settle(name)
        assert life.operator.metrics.conditions._stands
        life.operator._follow()
        assert not life.operator.metrics.conditions._stands


class Disturbed(KubeClient):
    """Lists during which something happens that a watch tells of before the list has come in."""

    meanwhile: Callable[[], None] = staticmethod(lambda: None)

    async def pages(self, kind: Kind, namespace: str | None = None, selector: str = "") -> AsyncIterator[Page]:
        async for page in super().pages(kind, namespace, selector):
            type(self).meanwhile()
            yield page


async def test_what_is_made_while_a_list_runs_is_not_taken_for_gone(world: World) -> None:
    name = Name(world.namespace, "demo")
    async with in_process(world.kubeconfig) as life:
        watches, cache = life.operator.watches, life.operator.cache

        def made() -> None:
            world.apply("demo")
            cache.put(RESOURCE, world.get("specdep", "demo"))

        watches.client = Disturbed(watches.client.api)
        Disturbed.meanwhile = staticmethod(made)
        await watches.sweep(RESOURCE)
        assert cache.seen(name).resource

        def deleted() -> None:
            gone = world.get("specdep", "demo")
            world.kubectl("delete", "specdep", "demo")
            after = json.loads(world.kubectl("get", "--raw", RESOURCE.path(world.namespace)))["metadata"]
            cache.drop(RESOURCE, {**gone, "metadata": {**gone["metadata"], **after}})

        Disturbed.meanwhile = staticmethod(deleted)
        await watches.sweep(RESOURCE)
        assert cache.seen(name).resource is None


@pytest.mark.slow
async def test_an_idle_hour_with_twenty_resources_and_serving_pods_writes_nothing(world: World) -> None:
    names = [Name(world.namespace, f"demo-{number}") for number in range(20)]
    for name in names:
        world.apply(name.name, monitoring={"scrapeIntervalSeconds": SCRAPE_SECONDS})
    async with in_process(world.kubeconfig) as life:
        await life.look()
        for name in names:
            await life.operator.reconciler.work(name)
        with Fleet(world.api, world.namespace) as fleet:
            fleet.follow(only="demo-0")
            pod = next(iter(fleet.pods.values()))
            await life.look()
            targets = [pod.target()]
            seen = await life.operator.reconciler.tuner.engines.round(targets, {}, life.now)
        await rest(life, names, seen, rounds=6)
        before = len(world.api.writes(OPERATOR))
        passes = IDLE_SECONDS // SCRAPE_SECONDS
        await rest(life, names, seen, rounds=passes)
    written = world.api.writes(OPERATOR)[before:]
    assert [(event["verb"], event["objectRef"]) for event in written] == []


async def rest(life: InProcess, names: list[Name], seen: Round, rounds: int) -> None:
    """`rounds` ticks in which every engine shows the same counters a scrape interval later."""
    for _ in range(rounds):
        life.now += SCRAPE_SECONDS
        for name in names:
            standing = await life.standing(name)
            samples = tuple(replace(sample, at=life.now) for sample in seen.samples)
            standing.seen, standing.unread, standing.due = replace(seen, at=life.now, samples=samples), True, 1e12
            standing.report_at -= SCRAPE_SECONDS
            await life.operator.reconciler.work(name)


def test_what_evaded_admission_ends_as_stalled_and_disturbs_nothing(own_api: ApiServer) -> None:
    world = World(own_api, "default")
    crd = json.loads(own_api.kubectl("get", "crd", "speculativedeployments.specdec.dev", "-o", "json").stdout)
    for version in crd["spec"]["versions"]:
        version["schema"]["openAPIV3Schema"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    own_api.kubectl("replace", "-f", "-", stdin=json.dumps(crd))
    world.apply("good")
    world.apply("bad", tuning={"min": 6, "max": 9}, speculator={"numSpeculativeTokens": 12})
    world.apply("worse", engine=3)
    with operator(world.kubeconfig) as process:
        for name in ("bad", "worse"):
            found = world.wait_condition(name, "Stalled")
            assert found["reason"] == "InvalidSpec"
            assert "spec." in found["message"]
        world.wait_for("deployment/good")
        assert not world.get("deployment", "bad")
        assert process.process.poll() is None
        world.apply("bad", tuning={"min": 1, "max": 7}, speculator={"numSpeculativeTokens": 7})
        world.wait_for("deployment/bad")
