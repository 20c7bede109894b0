"""Telling the engines: who is told, and what is said of those who could not be."""

from __future__ import annotations

from typing import Any, cast

import pytest

from specdec.api.decision import AcceptedDecision, Switching
from specdec.controllers.checkpoint import Checkpoint
from specdec.controllers.standing import Standing
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
