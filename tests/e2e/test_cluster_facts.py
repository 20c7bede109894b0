"""What only the cluster can say becomes a condition and an event that name the remedy; the loop keeps trying."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.looks import await_condition, wait_ready
from tests.e2e.resources import engine, simulated
from tests.support.kubectl import Kubectl, until

HUB = {"repo": "deepseek-ai/DeepSeek-V4-Flash", "tokenSecretRef": {"name": "hugging-face", "key": "token"}}


def events(space: Kubectl, name: str) -> set[str]:
    return {
        item["reason"]
        for item in space.list("events")
        if item["involvedObject"]["kind"] == "SpeculativeDeployment" and item["involvedObject"]["name"] == name
    }


@pytest.mark.parametrize(
    ("spec", "condition", "value", "reason", "said"),
    [
        pytest.param(
            {"engine": engine() | {"image": "specdec/no-such-image:1"}},
            "Stalled",
            "True",
            "ImagePullFailed",
            "correct spec.engine.image (specdec/no-such-image:1)",
            id="no such image",
        ),
        pytest.param(
            {"engine": engine() | {"cache": {"existingClaim": "weights"}}},
            "Stalled",
            "True",
            "ClaimMissing",
            "PersistentVolumeClaim weights does not exist; create it in namespace",
            id="no such claim",
        ),
        pytest.param(
            {"placement": {"gpuProduct": ["NVIDIA-H900"]}},
            "CapacityAvailable",
            "False",
            "NoMatchingNode",
            "no node has nvidia.com/gpu.product of NVIDIA-H900",
            id="no such GPU",
        ),
        pytest.param(
            {"engine": engine() | {"args": ["--no-such-flag"]}},
            "Stalled",
            "True",
            "EngineCrashed",
            "no-such-flag",
            id="an engine that will not start",
        ),
    ],
)
def test_it_is_told_with_its_remedy(
    space: Kubectl, spec: dict[str, Any], condition: str, value: str, reason: str, said: str
) -> None:
    space.apply(simulated("troubled", **spec))
    found = until(reason, lambda: _with_reason(await_condition(space, "troubled", condition, value), reason), 120)
    assert said in found["message"]
    until("an event", lambda: reason in events(space, "troubled"))


def test_a_missing_secret_is_told_and_its_arrival_is_enough(space: Kubectl) -> None:
    space.apply(simulated("gated", model={"servedName": "deepseek-v4-flash", "source": {"huggingFace": HUB}}))
    found = await_condition(space, "gated", "Stalled", "True")
    assert found["reason"] == "SecretMissing"
    assert "Secret hugging-face does not exist; create it in namespace" in found["message"]
    space.run("create", "secret", "generic", "hugging-face", "--from-literal=other=x")
    until("the key is missed", lambda: "key token of Secret hugging-face" in _stalled(space, "gated"))
    space.run("patch", "secret", "hugging-face", "--type=merge", "-p", '{"stringData": {"token": "hf_x"}}')
    wait_ready(space, "gated")
    await_condition(space, "gated", "Stalled", "False")
    assert {"SecretMissing", "BecameReady", "Recovered"} <= events(space, "gated")


def _with_reason(found: Any, reason: str) -> Any:
    return found if found["reason"] == reason else None


def _stalled(space: Kubectl, name: str) -> str:
    message: str = await_condition(space, name, "Stalled", "True")["message"]
    return message
