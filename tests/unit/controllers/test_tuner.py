"""Telling the engines: who is told, and what is said of those who could not be; what a newcomer begins with."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest

from specdec import tuning
from specdec.api.conditions import Condition, Truth
from specdec.api.decision import AcceptedDecision, Switching
from specdec.api.schedule import constant
from specdec.controllers.checkpoint import Checkpoint
from specdec.controllers.engines import Round
from specdec.controllers.findings import findings
from specdec.controllers.limits import environment_of
from specdec.controllers.standing import Standing
from specdec.controllers.tick import Outcome, restored, saved, ticked
from specdec.controllers.tuner import Tuner
from specdec.engine.errors import EngineUnreachable
from specdec.kube.cache import Cache
from specdec.kube.kinds import RESOURCE
from specdec.tuning.state import Trial
from tests.support.resource import resource, stored

NOBODY = cast(Any, None)


def tuner() -> Tuner:
    """One that knows the resource and no pod."""
    cache = Cache(lambda _: None)
    body = stored()
    cache.put(RESOURCE, {**body, "metadata": {**body["metadata"], "resourceVersion": "1"}})
    return Tuner(NOBODY, NOBODY, cache, NOBODY, lambda _: None, lambda: True)


@pytest.mark.parametrize(
    "switching",
    [pytest.param("Live", id="its pod is gone"), pytest.param("Restart", id="K now reaches the engines by restart")],
)
async def test_an_engine_that_need_not_be_told_any_more_is_no_trouble(switching: Switching) -> None:
    standing = Standing("uid", Checkpoint(AcceptedDecision(2, switching, 7)))
    standing.untold = {"pod-1": EngineUnreachable("pod-1", "gone")}
    await tuner().tell(resource(), standing)
    assert standing.untold == {}


def elder(gpu: str | None = None) -> tuning.State:
    """The tuner of another resource of the same environment, or on another `gpu`, that found steps dearer."""
    environment = environment_of(resource())
    environment = environment if gpu is None else replace(environment, gpu=gpu)
    state = tuning.new_state(environment, tuning.estimated_prior())
    return replace(state, belief=replace(state.belief, mean=state.belief.mean + 0.5))


def test_a_newcomer_begins_with_what_its_environment_has_learned() -> None:
    new = Checkpoint(AcceptedDecision(1, "Live", 7))
    alone, heir = restored(resource(), new, 0.0), restored(resource(), new, 0.0, elder())
    assert (alone.belief.mean == 0).all()
    assert heir.belief.mean[0] == 0.5
    assert (restored(resource(), new, 0.0, elder(gpu="another")).belief.mean == 0).all()


@pytest.mark.parametrize(("tried", "stored_after_seconds"), [(True, 10.0), (False, 600.0)])
async def test_what_a_trial_measures_is_stored_within_seconds(tried: bool, stored_after_seconds: float) -> None:
    trial = Trial(30.0, constant(7, 256)) if tried else None
    fresh = elder()
    state = replace(fresh, trial=trial, acceptance=replace(fresh.acceptance, seen_drafts=1000.0))
    outcome = Outcome(Checkpoint(), state, tuning.Hold(tuning.Reason.TRIAL_RUNNING, "it runs", 0.0))
    clock = asyncio.get_running_loop().time()
    early, late = Standing("uid", saved_at=clock - stored_after_seconds + 5), Standing("uid", saved_at=clock - 601)
    assert tuner()._with_learned(early, outcome).checkpoint.tuner is None
    assert tuner()._with_learned(late, outcome).checkpoint.tuner is not None
    due = Standing("uid", saved_at=clock - stored_after_seconds)
    assert tuner()._with_learned(due, outcome).checkpoint.tuner is not None


@pytest.mark.parametrize(("gpu", "kept"), [(None, True), ("another", False)])
def test_what_was_learned_stays_only_while_the_environment_is_the_same(gpu: str | None, kept: bool) -> None:
    new, seen = Checkpoint(AcceptedDecision(1, "Live", 7)), Round(0.0, asked=0)
    outcome = ticked(resource(), new, elder(gpu), seen, tuning.Limits(), now=0.0, chance=0.5)
    assert outcome.tuner.environment == environment_of(resource())
    assert bool((outcome.tuner.belief.mean != 0).any()) is kept


@pytest.mark.parametrize(("trial", "truth"), [(Trial(30.0, constant(7, 256)), Truth.TRUE), (None, Truth.FALSE)])
def test_a_live_trial_is_told_of_also_by_who_took_over_in_its_midst(trial: Trial | None, truth: Truth) -> None:
    few = tuning.Hold(tuning.Reason.TOO_FEW_DRAFTS, "nothing seen yet", 0.0)
    standing = Standing("uid", Checkpoint(), replace(elder(), trial=trial), few)
    assert findings(standing, None)[Condition.TRIAL_IN_PROGRESS].truth is truth


def test_what_a_resource_learned_itself_is_not_replaced() -> None:
    new = Checkpoint(AcceptedDecision(1, "Live", 7))
    known = saved(new, restored(resource(), new, 0.0))
    assert (restored(resource(), known, 0.0, elder()).belief.mean == 0).all()


@pytest.mark.parametrize(
    ("accepted", "goes_on"),
    [
        (AcceptedDecision(2, "Live", 7, constant(7, 256)), True),
        (AcceptedDecision(2, "Live", 7), False),
        (AcceptedDecision(2, "Restart", 7, constant(7, 256)), False),
    ],
    ids=["the operator restarted", "the spec put K back", "K reaches the engines by restart now"],
)
def test_a_live_trial_outlives_the_operator_but_not_an_edit_that_puts_k_back(
    accepted: AcceptedDecision, goes_on: bool
) -> None:
    trial = Trial(30.0, constant(3, 256), untuned=True)
    known = saved(Checkpoint(accepted), replace(elder(), in_force=constant(7, 256), trial=trial))
    assert (restored(resource(), known, 0.0).trial == trial) is goes_on


def test_a_switchback_begins_and_ends_with_the_spec() -> None:
    new, seen = Checkpoint(AcceptedDecision(1, "Live", 7)), Round(0.0, asked=0)
    asked = tuning.Limits(switchback_share=0.02)
    begun = ticked(resource(), new, elder(), seen, asked, now=0.0, chance=0.25).tuner
    assert begun.pairs is not None
    assert begun.pairs.lot == 0.25
    assert ticked(resource(), new, begun, seen, tuning.Limits(), now=1.0, chance=0.5).tuner.pairs is None
