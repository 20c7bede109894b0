"""A pod that waits for its predecessor's GPUs lacks nothing: one that waits for nobody does."""

from __future__ import annotations

from typing import Any

import pytest

from specdec.api.conditions import Reason, Truth
from specdec.observed.capacity import capacity
from specdec.observed.snapshot import Snapshot
from tests.support.resource import resource


def pod(name: str, scheduled: bool = True, leaving: bool = False) -> dict[str, Any]:
    metadata = {"name": name} | ({"deletionTimestamp": "2026-01-01T00:00:00Z"} if leaving else {})
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
            [pod("a", False), pod("b", leaving=True)], Truth.UNKNOWN, Reason.AWAITING_RELEASE, id="one drains for it"
        ),
        pytest.param(
            [pod("a", False), pod("b", False), pod("c", leaving=True)],
            Truth.FALSE,
            Reason.INSUFFICIENT_GPUS,
            id="one drains for two",
        ),
    ],
)
def test_capacity(pods: list[dict[str, Any]], truth: Truth, reason: Reason) -> None:
    found = capacity(resource(), Snapshot(pods=tuple(pods)))
    assert (found.truth, found.reason) == (truth, reason)
