"""Telling the engines: who is told, and what is said of those who could not be; what a newcomer begins with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from specdec import tuning
from specdec.api.decision import AcceptedDecision, Switching
from specdec.controllers.checkpoint import Checkpoint
from specdec.controllers.limits import environment_of
from specdec.controllers.standing import Standing
from specdec.controllers.tick import restored, saved
from specdec.controllers.tuner import Tuner
from specdec.engine.errors import EngineUnreachable
from specdec.kube.cache import Cache
from specdec.kube.kinds import RESOURCE
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


def test_what_a_resource_learned_itself_is_not_replaced() -> None:
    new = Checkpoint(AcceptedDecision(1, "Live", 7))
    known = saved(new, restored(resource(), new, 0.0))
    assert (restored(resource(), known, 0.0, elder()).belief.mean == 0).all()
