"""The operator dies around any request of a pass that changes K; the next life ends where one life would have."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from specdec import tuning
from specdec.api.decision import AcceptedDecision
from specdec.api.schedule import Schedule, constant
from specdec.controllers.checkpoint import read
from specdec.kube.kinds import Name
from tests.integration.conftest import World
from tests.integration.test_killed_at_each_step import MOST_REQUESTS, Killed, Mortal
from tests.support.fleet import Fleet, PodProcess
from tests.support.operator import InProcess, in_process

MOVED, BEFORE = constant(3, 64), constant(7, 64)
GAIN = tuning.Gain(5.0, 3.0, 7.0)
MOVE = (tuning.Kind.LIVE, tuning.Reason.BETTER_SCHEDULE, MOVED)
TAKE_BACK = (tuning.Kind.TAKE_BACK, tuning.Reason.DID_NOT_DELIVER, BEFORE)


@pytest.fixture
async def pod(world: World) -> AsyncIterator[PodProcess]:
    """The one engine of the resource `demo`."""
    with Fleet(world.api, world.namespace, {"SEED": "1"}) as fleet:
        world.apply("demo", engine={"image": "specdec/simulator:dev", "maxNumSeqs": 64})
        async with in_process(world.kubeconfig) as life:
            await life.settle(Name(world.namespace, "demo"), 2)
        fleet.follow()
        yield next(iter(fleet.pods.values()))


async def with_a_round(life: InProcess, name: Name) -> None:
    """A pass, and the engines' answers to what it asked them."""
    await life.one_pass(name)
    standing = await life.standing(name)
    async with asyncio.timeout(60):
        while not standing.unread:  # noqa: ASYNC110 - what is waited for happens in another process
            await asyncio.sleep(0.01)


async def die_at(world: World, name: Name, request: int, *, after: bool) -> bool:
    """One life that decides and ends at its `request`-th request from then on; False when it came through."""
    async with in_process(world.kubeconfig, Mortal) as life:
        await with_a_round(life, name)
        await life.look()
        Mortal.lives, Mortal.after = request, after
        try:
            await life.operator.reconciler.work(name)
        except Killed:
            return True
        finally:
            Mortal.lives = None
        return False


async def settled(world: World, name: Name) -> None:
    """The next life: it asks the engines, tells them, and reads from their pages that all is done."""
    async with in_process(world.kubeconfig) as life:
        for _ in range(2):
            await with_a_round(life, name)
            (await life.standing(name)).due = 0.0
        await life.one_pass(name)


def decide(monkeypatch: pytest.MonkeyPatch, kind: tuning.Kind, reason: tuning.Reason, wanted: Schedule) -> None:
    """Every tick decides on `wanted` until it is in force."""

    def recommend(state: tuning.State, _limits: tuning.Limits, now: float, _chance: float) -> object:
        if state.in_force == wanted:
            return tuning.Hold(tuning.Reason.GAIN_TOO_SMALL, "in force", now)
        return tuning.Decision(kind, wanted, GAIN, reason, "forced by the test", now)

    monkeypatch.setattr(tuning, "recommend", recommend)


def accepted(world: World) -> AcceptedDecision:
    found = read(world.get("configmap", "demo-checkpoint")).accepted
    assert found is not None
    return found


@pytest.mark.parametrize("after", [False, True], ids=["before the request", "after the request"])
@pytest.mark.slow
async def test_a_decision_cut_off_anywhere_is_in_force_in_the_end(
    world: World, pod: PodProcess, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    name, came_through = Name(world.namespace, "demo"), set[tuning.Kind]()
    for request in range(1, MOST_REQUESTS):
        for kind, reason, wanted in (MOVE, TAKE_BACK):
            decide(monkeypatch, kind, reason, wanted)
            before = accepted(world).revision
            if not await die_at(world, name, request, after=after):
                came_through.add(kind)
            await settled(world, name)
            found = accepted(world)
            assert (found.schedule, found.revision) == (wanted, before + 1), f"{kind}, died at request {request}"
            assert world.status("demo")["history"][0]["reason"] == reason.value
            told = pod.get("/v1/speculation")["schedule"]
            assert told["revision"] == found.revision
            assert [entry["numSpeculativeTokens"] for entry in told["entries"]] == [wanted.ks[0]]
            assert world.status("demo")["speculation"]["numSpeculativeTokens"] == wanted.ks[0]
        if came_through == {tuning.Kind.LIVE, tuning.Kind.TAKE_BACK}:
            assert request > 3
            return
    raise AssertionError("no pass came through")
