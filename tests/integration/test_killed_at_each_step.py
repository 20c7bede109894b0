"""The operator dies before or after any of its requests; the next life ends where an undisturbed one would have."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from specdec.kube.client import KubeClient, Manifest
from specdec.kube.kinds import Name
from tests.integration.conftest import World
from tests.support.operator import InProcess, in_process

SETTLING_PASSES = 3
MOST_REQUESTS = 40


class Killed(BaseException):
    """What a kill -9 looks like from within: nothing runs after it, no handler catches it."""


class Mortal(KubeClient):
    """Dies at its `lives`-th request, `after` it was sent or before."""

    lives: int | None = None
    after: bool = False

    async def _request(self, *arguments: Any, **options: Any) -> Manifest:
        cls = type(self)
        if cls.lives is not None:
            cls.lives -= 1
        dies = cls.lives == 0
        if dies and not cls.after:
            raise Killed
        try:
            return await super()._request(*arguments, **options)
        finally:
            if dies:
                raise Killed


@pytest.fixture(autouse=True)
async def immortal_again() -> AsyncIterator[None]:
    yield
    Mortal.lives = None


async def die_at(world: World, name: Name, request: int, *, after: bool) -> bool:
    """One life that ends at its `request`-th request; False when it came to rest before."""
    async with in_process(world.kubeconfig, Mortal) as life:
        await life.look()
        Mortal.lives, Mortal.after = request, after
        try:
            for _ in range(SETTLING_PASSES):
                await life.operator.reconciler.work(name)
        except Killed:
            return True
        finally:
            Mortal.lives = None
        return False


async def settled(world: World, name: Name) -> None:
    async with in_process(world.kubeconfig) as life:
        await life.settle(name, SETTLING_PASSES)


def children(world: World) -> dict[str, Any]:
    """What stands, without what differs between any two objects."""
    kinds = "deployments,services,configmaps,secrets,serviceaccounts,networkpolicies,poddisruptionbudgets"
    found = json.loads(world.kubectl("get", kinds, "-l", "app.kubernetes.io/managed-by=specdec-operator", "-o", "json"))
    return {f"{body['kind']}/{body['metadata']['name']}": _lasting(body) for body in found["items"]}


def _lasting(body: dict[str, Any]) -> dict[str, Any]:
    metadata = {key: body["metadata"].get(key) for key in ("labels",)}
    content = {key: value for key, value in body.items() if key not in ("metadata", "status", "data")}
    content.get("spec", {}).pop("clusterIP", None)
    content.get("spec", {}).pop("clusterIPs", None)
    return {"metadata": metadata, "keys": sorted(body.get("data", {})), **content}


@pytest.mark.parametrize("after", [False, True], ids=["before the request", "after the request"])
@pytest.mark.slow
async def test_a_first_life_cut_off_anywhere_is_taken_up_by_the_next(world: World, after: bool) -> None:
    world.apply("unbroken")
    await settled(world, Name(world.namespace, "unbroken"))
    expected = children(world)
    deaths = 0
    for request in range(1, MOST_REQUESTS):
        name = f"broken-{request}"
        world.apply(name)
        died = await die_at(world, Name(world.namespace, name), request, after=after)
        await settled(world, Name(world.namespace, name))
        found = {key: value for key, value in children(world).items() if key.split("/")[1].startswith(f"{name}")}
        renamed = json.loads(json.dumps(found).replace(name, "unbroken"))
        assert {k: v for k, v in renamed.items() if k in expected} == expected, f"died at request {request}"
        world.kubectl("delete", "specdep", name)
        if not died:
            break
        deaths += 1
    assert deaths >= 9


@pytest.mark.parametrize("after", [False, True], ids=["before the request", "after the request"])
@pytest.mark.slow
async def test_a_spec_change_cut_off_anywhere_is_taken_up_by_the_next(world: World, after: bool) -> None:
    name = Name(world.namespace, "demo")
    world.apply("demo", replicas=1)
    await settled(world, name)
    for request in range(1, MOST_REQUESTS):
        world.apply("demo", replicas=1 + request, speculator={"numSpeculativeTokens": 7 - request % 3})
        died = await die_at(world, name, request, after=after)
        await settled(world, name)
        deployment = world.get("deployment", "demo")
        assert deployment["spec"]["replicas"] == 1 + request
        assert f'"num_speculative_tokens": {7 - request % 3}' in json.dumps(deployment).replace('\\"', '"')
        assert world.status("demo")["observedGeneration"] == world.get("specdep", "demo")["metadata"]["generation"]
        if not died:
            return
    raise AssertionError("the operator never came to rest")


async def test_the_control_token_outlives_every_life(world: World) -> None:
    name = Name(world.namespace, "demo")
    world.apply("demo")
    await settled(world, name)
    first = world.get("secret", "demo-control")["data"]
    await settled(world, name)
    assert world.get("secret", "demo-control")["data"] == first
    world.kubectl("delete", "secret", "demo-control")
    async with in_process(world.kubeconfig) as life:
        await _with_token_in_doubt(life, name)
    assert world.get("secret", "demo-control")["data"] != first


async def _with_token_in_doubt(life: InProcess, name: Name) -> None:
    await life.one_pass(name)
    resource, standing = life.resource(name), await life.standing(name)
    life.operator.reconciler.tokens.doubt(standing)
    await life.operator.reconciler.tokens.ensure(resource, standing)


async def test_a_second_life_writes_nothing(world: World) -> None:
    for number in range(3):
        world.apply(f"demo-{number}", monitoring={"podMonitor": False})
        await settled(world, Name(world.namespace, f"demo-{number}"))
    before = world.writes(but_leases=False)
    for number in range(3):
        await settled(world, Name(world.namespace, f"demo-{number}"))
    assert world.writes(but_leases=False) == before
    assert len(before) == 3 * 9
