"""A start value tried on one replica: with simulated engines and traffic, and an operator that dies at any step."""

import itertools
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from specdec import tuning
from specdec.api.schedule import Schedule, Tier, constant
from specdec.controllers.accepting import accepted_with
from specdec.controllers.checkpoint import Checkpoint, read
from specdec.controllers.engines import Round
from specdec.controllers.limits import environment_of
from specdec.controllers.tick import restored, saved
from specdec.kube.kinds import Name
from tests.integration.conftest import World
from tests.integration.test_killed_at_each_step import MOST_REQUESTS, SETTLING_PASSES, Killed, Mortal, settled
from tests.support.fleet import Fleet, eventually
from tests.support.operator import InProcess, in_process, operator
from tests.support.resource import resource
from tests.support.traffic import Traffic
from tests.support.windows import OPEN, Window, shut

DAY = 86_400.0
# Another layout than that of the packaged step times: the pods start with the K that was asked for.
BY_RESTART: dict[str, Any] = {
    "replicas": 3,
    "model": {"servedName": "deepseek-v4-flash"},
    "tuning": {"switching": "Restart", "window": "3s", "minDrafts": 100},
    "monitoring": {"scrapeIntervalSeconds": 1},
    "engine": {"image": "specdec/simulator:dev", "maxNumSeqs": 64, "parallelism": {"tensor": 8}},
}
TRIED = Schedule((Tier(1, 16, 4), Tier(17, 64, 2)))


def checkpoint(world: World) -> Checkpoint:
    return read(world.get("configmap", "demo-checkpoint"))


def deployments(world: World) -> dict[str, int]:
    return {body["metadata"]["name"]: body["spec"]["replicas"] for body in world.items("deployments")}


def store(world: World, changed: Checkpoint) -> None:
    world.kubectl("patch", "configmap", "demo-checkpoint", "--type=merge", "-p", json.dumps({"data": changed.data()}))


async def seasoned(world: World) -> Checkpoint:
    """A resource with children, and a checkpoint whose tuner has watched three replicas at K = 7 for two days."""
    world.apply("demo", **BY_RESTART)
    await settled(world, Name(world.namespace, "demo"))
    assert deployments(world) == {"demo": 3}
    state = tuning.new_state(environment_of(resource("demo", **BY_RESTART)), tuning.estimated_prior())
    return saved(checkpoint(world), replace(state, first_at=time.time() - 2 * DAY))


async def trying(world: World, since: float) -> None:
    """The same, with a replica on trial for `since` seconds."""
    before, began = await seasoned(world), time.time() - since
    after = accepted_with(before, TRY, tuning.Switching.RESTART, began)
    state = tuning.acted(restored(resource("demo", **BY_RESTART), before, began), TRY, began)
    store(world, saved(after, state))


def turns(fleet: Fleet) -> Callable[[], str]:
    """Addresses of the pods that there are, one after the other."""
    numbers, known = itertools.count(), [pod.url for pod in fleet.pods.values()]

    def url() -> str:
        # Between the old pods and the new ones there is none.
        known[:] = [pod.url for pod in list(fleet.pods.values())] or known
        return known[next(numbers) % len(known)]

    return url


def answer(kind: tuning.Kind, reason: tuning.Reason) -> tuning.Decision:
    schedule = constant(7, 64) if kind is tuning.Kind.END_TRIAL else TRIED
    return tuning.Decision(kind, schedule, tuning.Gain(8.0, 4.0, 12.0), reason, "why", 1.0, start_k=max(schedule.ks))


TRY = answer(tuning.Kind.RESTART_TRIAL, tuning.Reason.BETTER_START_VALUE)
FOLLOW = answer(tuning.Kind.RESTART, tuning.Reason.TRIAL_DELIVERED)
TAKE_BACK = answer(tuning.Kind.END_TRIAL, tuning.Reason.DID_NOT_DELIVER)


def within(window: Window) -> dict[str, Any]:
    """The spec with restarts in `window` only."""
    return BY_RESTART | {"tuning": {**BY_RESTART["tuning"], "disruption": {"windows": [window]}}}


@pytest.mark.slow
async def test_in_its_window_one_replica_tries_a_better_start_value_and_the_others_follow(world: World) -> None:
    store(world, await seasoned(world))
    world.apply("demo", **within(shut()))
    with Fleet(world.api, world.namespace, {"SEED": "1"}) as fleet:
        fleet.follow()
        _tried_under_traffic(world, fleet)
    rollout, trial = world.status("demo")["history"][:2]
    assert (rollout["reason"], trial["verdict"]) == ("TrialDelivered", "Confirmed")
    assert trial["realisedGainPercent"] >= 3
    assert len(checkpoint(world).restarts) == 1
    told = {event["reason"]: event["message"] for event in world.events("demo")}
    assert "on one replica" in told["TrialStarted"]
    assert "the others follow" in told["StartValueChanged"]


def _tried_under_traffic(world: World, fleet: Fleet) -> None:
    with Traffic(turns(fleet), users=24, domain="hard"):
        with operator(world.kubeconfig) as first_life:
            eventually("a better K is known", lambda: _expected_percent(world) >= 3)
            held = world.wait_condition("demo", "Tuned", "False")
            assert (held["reason"], deployments(world)) == ("OutsideWindow", {"demo": 3})
            world.apply("demo", **within(OPEN))
            found = world.wait_condition("demo", "TrialInProgress", seconds=120)
            assert found["reason"] == "RestartTrial"
            eventually("one replica is taken out", lambda: deployments(world) == {"demo": 2, "demo-trial": 1})
            fleet.follow()
            assert len(fleet.pods) == 3
            entry = world.status("demo")["history"][0]
            assert (entry["from"], entry["verdict"]) == ("7", "Pending")
            assert entry["to"].endswith(" on trial")
            first_life.kill()
        with operator(world.kubeconfig):
            eventually("the others follow", lambda: deployments(world) == {"demo": 3}, 240)
            fleet.follow()
            world.wait_condition("demo", "Ready")
            world.wait_condition("demo", "TrialInProgress", "False", seconds=60)


def _expected_percent(world: World) -> int:
    return int(world.status("demo").get("recommendation", {}).get("expectedGainPercent", 0))


async def test_a_replica_that_does_not_serve_in_time_is_taken_back(world: World) -> None:
    await trying(world, since=4000.0)
    with Fleet(world.api, world.namespace) as fleet, operator(world.kubeconfig):
        eventually("the trial stands", lambda: deployments(world) == {"demo": 2, "demo-trial": 1})
        fleet.follow(only="demo")
        eventually("it is taken back", lambda: deployments(world) == {"demo": 3}, 60)
        world.wait_condition("demo", "TrialInProgress", "False")
    entry = world.status("demo")["history"][0]
    assert (entry["verdict"], entry.get("realisedGainPercent")) == ("Reverted", None)
    assert "did not serve" in next(e["message"] for e in world.events("demo") if e["reason"] == "TrialEnded")


async def test_mode_off_in_the_middle_ends_a_trial(world: World) -> None:
    await trying(world, since=60.0)
    with operator(world.kubeconfig):
        eventually("the trial stands", lambda: deployments(world) == {"demo": 2, "demo-trial": 1})
        world.apply("demo", **BY_RESTART | {"tuning": {**BY_RESTART["tuning"], "mode": "Off"}})
        eventually("it is over", lambda: deployments(world) == {"demo": 3})
        world.wait_condition("demo", "TrialInProgress", "False")
        eventually("an event", lambda: "TrialEnded" in {event["reason"] for event in world.events("demo")})
    assert [e["verdict"] for e in world.status("demo")["history"] if e["to"].endswith("on trial")] == ["Inconclusive"]


async def decide(life: InProcess, name: Name, decision: tuning.Decision, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes in whose first the tuner answers with `decision`."""
    left = [decision]
    hold = tuning.Hold(tuning.Reason.GAIN_TOO_SMALL, "nothing better", 1.0)
    monkeypatch.setattr(tuning, "recommend", lambda *_: left.pop() if left else hold)
    standing = await life.standing(name)
    standing.seen, standing.unread = Round(life.now, asked=0), True
    for _ in range(SETTLING_PASSES):
        await life.operator.reconciler.work(name)


@pytest.mark.parametrize("after", [False, True], ids=["before the request", "after the request"])
@pytest.mark.parametrize("ending", [FOLLOW, TAKE_BACK], ids=["rolled out", "taken back"])
@pytest.mark.slow
async def test_a_trial_cut_off_anywhere_is_taken_up_by_the_next_life(
    world: World, monkeypatch: pytest.MonkeyPatch, after: bool, ending: tuning.Decision
) -> None:
    name = Name(world.namespace, "demo")
    world.apply("demo", **BY_RESTART)
    await settled(world, name)
    for decision in (TRY, ending):
        begun = checkpoint(world)
        for request in range(1, MOST_REQUESTS):
            store(world, begun)
            await settled(world, name)
            died = await _dies(world, name, decision, monkeypatch, request, after=after)
            await settled(world, name)
            _consistent(world)
            if not died:
                break
        assert not died
    over = checkpoint(world)
    assert over.accepted is not None
    assert over.accepted.trial is None
    assert over.accepted.schedule == (TRIED if ending is FOLLOW else None)
    assert [e.verdict for e in over.history if e.after.endswith("on trial")] == [
        "Confirmed" if ending is FOLLOW else "Reverted"
    ]


async def _dies(
    world: World, name: Name, decision: tuning.Decision, monkeypatch: pytest.MonkeyPatch, request: int, *, after: bool
) -> bool:
    async with in_process(world.kubeconfig, Mortal) as life:
        await life.look()
        Mortal.lives, Mortal.after = request, after
        try:
            await decide(life, name, decision, monkeypatch)
        except Killed:
            return True
        finally:
            Mortal.lives = None
        return False


def _consistent(world: World) -> None:
    """What is stored and what stands say the same, and three replicas are asked for in all."""
    stored = checkpoint(world)
    assert stored.accepted is not None
    on_trial = stored.accepted.trial is not None
    assert deployments(world) == ({"demo": 2, "demo-trial": 1} if on_trial else {"demo": 3})
    tried = [entry for entry in stored.history if entry.after.endswith("on trial")]
    assert len(stored.restarts) == len(tried) <= 1
    assert [entry.verdict == "Pending" for entry in tried] == [on_trial] * len(tried)
