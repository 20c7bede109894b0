"""Fleet, which plays Deployment controller and kubelet in integration tests, writes what the real ones write."""

from __future__ import annotations

import json
import urllib.request
from typing import Any, Final

from tests.e2e.looks import wait_ready
from tests.e2e.resources import simulated
from tests.support.fleet import deployment_status, pod_status
from tests.support.kubectl import Kubectl, until
from tests.support.reach import reach

# Of these only the kind of value is compared.
OF_THE_RUN: Final = ("lastTransitionTime", "startedAt", "image", "imageID")


def unlike(played: Any, real: Any, path: str = "") -> list[str]:
    """Where `real` lacks a field of `played` or has another value; what it has beside them does not count."""
    if isinstance(played, dict) and isinstance(real, dict):
        return [each for key, value in played.items() for each in unlike(value, real.get(key), f"{path}.{key}")]
    if isinstance(played, list) and isinstance(real, list):
        kinds = {item.get("type"): item for item in real}
        pairs = [(item, kinds.get(item.get("type"))) for item in played]
        return [each for item, other in pairs for each in unlike(item, other, f"{path}[{item.get('type', '')}]")]
    same = isinstance(real, type(played)) if path.endswith(OF_THE_RUN) else played == real
    return [] if same else [f"{path}: {played!r} is played, {real!r} is real"]


def crash(url: str) -> None:
    """The simulator ends without an answer, as told."""
    body = json.dumps({"crash": True}).encode()
    try:
        urllib.request.urlopen(urllib.request.Request(f"{url}/test/faults", body, method="PUT"), timeout=60).close()
    except OSError:
        return


def restarted(space: Kubectl) -> dict[str, Any] | None:
    """The status of the only pod once its container serves for the second time."""
    (pod,) = space.list("pods")
    status: dict[str, Any] = pod["status"]
    (container,) = status["containerStatuses"]
    return status if container["restartCount"] == 1 and container["ready"] else None


def test_played_statuses_are_those_of_a_real_deployment_and_its_pod(space: Kubectl) -> None:
    space.apply(simulated("real"))
    wait_ready(space, "real")
    deployment = space.get("deployment", "real")
    assert unlike(deployment_status(deployment["metadata"]["generation"], 1), deployment["status"]) == []
    (pod,) = space.list("pods")
    assert unlike(pod_status(pod["status"]["podIP"], 0), pod["status"]) == []

    with reach(space, "real") as url:
        crash(url)
        status = until("the container is restarted", lambda: restarted(space))
    assert unlike(pod_status(pod["status"]["podIP"], 1), status) == []
