"""The chart's load test drives a real resource in the cluster, from one pod and led over several."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.conftest import install
from tests.e2e.looks import wait_ready
from tests.e2e.resources import simulated
from tests.support.kubectl import Kubectl, until

GENERATOR = "app.kubernetes.io/component=loadtest"
PLAN = {"name": "chat", "seconds": "8", "load.users": "2", "mix.chat": "1"}
# Of a busy machine the generator says that it was late and gives no verdict: not what is tested here.
DONE, LATE = 0, 4


@pytest.mark.slow
@pytest.mark.parametrize("workers", [pytest.param(0, id="one pod"), pytest.param(2, id="two workers")])
def test_it_sends_its_plan_and_prints_what_came_of_it(
    cluster: Kubectl, operator: Kubectl, space: Kubectl, workers: int
) -> None:
    space.apply(simulated("driven"))
    wait_ready(space, "driven")
    values = {
        "loadTest.enabled": "true",
        "loadTest.workers": str(workers),
        "loadTest.resources.requests.cpu": "50m",
        "loadTest.targets[0]": f"driven=http://driven.{space.namespace}:8000",
        **{f"loadTest.plan.phases[0].{name}": value for name, value in PLAN.items()},
    }
    try:
        install(cluster, *(f"{name}={value}" for name, value in values.items()))
        ended = until("the load test has ended", lambda: last_state(operator), 120)
        said = operator.run("logs", "-l", GENERATOR, "--tail=-1")
        assert ended["exitCode"] in {DONE, LATE}, said
        assert "0 failed" in said
        assert "report.html" in said
    finally:
        install(cluster)


def last_state(operator: Kubectl) -> dict[str, Any] | None:
    """How the generator ended; None while it runs."""
    for pod in operator.list("pods", GENERATOR):
        for status in pod["status"].get("containerStatuses", []):
            if ended := status["state"].get("terminated"):
                return dict(ended)
    return None
