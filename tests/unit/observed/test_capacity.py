"""A pod that waits for its predecessor's GPUs lacks nothing: one that waits for nobody does."""

from __future__ import annotations

from typing import Any

import pytest

from specdec.api.conditions import Reason, Truth
from specdec.observed.capacity import capacity
from specdec.observed.snapshot import Snapshot
from tests.support.resource import resource

NOON, AN_HOUR_AGO = "2026-01-01T12:00:00Z", "2026-01-01T11:00:00Z"
# A deletionTimestamp lies ahead while the grace period runs.
SOON, JUST_NOW = "2026-01-01T12:05:00Z", "2026-01-01T11:59:30Z"


def pod(name: str, scheduled: bool = True, gone_by: str | None = None) -> dict[str, Any]:
    metadata = {"name": name} | ({"deletionTimestamp": gone_by} if gone_by else {})
    condition = {"type": "PodScheduled", "status": "True" if scheduled else "False"}
    if not scheduled:
        condition |= {"reason": "Unschedulable", "message": "0/2 nodes: 2 Insufficient nvidia.com/gpu."}
    return {"metadata": metadata, "status": {"phase": "Pending", "conditions": [condition]}}


@pytest.mark.parametrize(
    ("pods", "truth", "reason"),
    [
        pytest.param([pod("a")], Truth.TRUE, Reason.PODS_SCHEDULED, id="all have a node"),
        pytest.param([pod("a", False)], Truth.FALSE, Reason.INSUFFICIENT_GPUS, id="no room"),
        pytest.param(
            [pod("a", False), pod("b", gone_by=SOON)], Truth.UNKNOWN, Reason.AWAITING_RELEASE, id="one drains for it"
        ),
        pytest.param(
            [pod("a", False), pod("b", gone_by=JUST_NOW)],
            Truth.UNKNOWN,
            Reason.AWAITING_RELEASE,
            id="one that is being killed for it",
        ),
        pytest.param(
            [pod("a", False), pod("b", False), pod("c", gone_by=SOON)],
            Truth.FALSE,
            Reason.INSUFFICIENT_GPUS,
            id="one drains for two",
        ),
        pytest.param(
            [pod("a", False), pod("b", gone_by=AN_HOUR_AGO)],
            Truth.FALSE,
            Reason.INSUFFICIENT_GPUS,
            id="the one that should drain for it died with its node",
        ),
        pytest.param(
            [pod("a", False), pod("b", gone_by=AN_HOUR_AGO), pod("c", gone_by=SOON)],
            Truth.UNKNOWN,
            Reason.AWAITING_RELEASE,
            id="one drains for it beside a dead one",
        ),
    ],
)
def test_capacity(pods: list[dict[str, Any]], truth: Truth, reason: Reason) -> None:
    found = capacity(resource(), Snapshot(pods=tuple(pods)), NOON)
    assert (found.truth, found.reason) == (truth, reason)


@pytest.mark.parametrize(
    ("stuck", "said"),
    [(["b"], "pod b should be gone"), (["c", "b", "d"], "pod b and 2 more should be gone")],
)
def test_pods_that_died_with_their_node_are_named_with_the_remedy(stuck: list[str], said: str) -> None:
    gone = (pod(name, gone_by=AN_HOUR_AGO) for name in stuck)
    message = capacity(resource(), Snapshot(pods=(pod("a", False), *gone)), NOON).message
    assert said in message
    assert "delete the Node, else force-delete the pod" in message
