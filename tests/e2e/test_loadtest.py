"""Load tests in the cluster: the chart's Job with workers, and a sweep of K through the resource."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from loadtests.arms import ByResource, Resource, parse_arms
from loadtests.plan import parse_plan
from loadtests.records import Target
from loadtests.report import build_report
from loadtests.run import Options
from loadtests.summary import summarise
from loadtests.sweep import Sweep, run_sweep
from tests.chart.rendering import helm
from tests.cluster import tools
from tests.e2e.conftest import CHART
from tests.e2e.looks import wait_ready
from tests.e2e.resources import simulated
from tests.support.kubectl import Kubectl, until
from tests.support.reach import reach

CHAT: Final[dict[str, Any]] = {
    "style": "chat",
    "domain": "chat",
    "prompt": {"median": 30},
    "output": {"median": 40, "spread": 0.2},
}
PLAN: Final[dict[str, Any]] = {
    "name": "in the cluster",
    "scenarios": {"chat": CHAT},
    "drainSeconds": 10,
    "phases": [
        {"name": "open", "seconds": 8, "load": {"rate": 4}},
        {"name": "closed", "seconds": 8, "load": {"users": 4}},
    ],
}


def load_test(space: Kubectl, values: dict[str, Any]) -> list[dict[str, Any]]:
    """The chart's load test alone, for the namespace of `space`."""
    place = ("--namespace", space.namespace or "default", "--kube-version", tools.KUBERNETES_VERSION)
    shown = ("--show-only", "templates/loadtest.yaml")
    done = helm("template", "specdec", str(CHART), *place, *shown, values={"loadTest": values})
    return list(yaml.safe_load_all(done.stdout))


def leader(space: Kubectl) -> dict[str, Any] | None:
    """The Job that leads, once it has ended."""
    jobs = [job for job in space.list("jobs") if not job["metadata"]["name"].endswith("-w")]
    ended = {c["type"] for job in jobs for c in job.get("status", {}).get("conditions", []) if c["status"] == "True"}
    return jobs[0] if ended & {"Complete", "Failed"} else None


def test_a_job_and_its_workers_load_the_resource_and_report(space: Kubectl, tmp_path: Path) -> None:
    space.apply(simulated("loaded"))
    wait_ready(space, "loaded")
    service = space.get("service", "loaded")["spec"]
    values = {
        "enabled": True,
        "image": {"repository": "specdec/loadtest", "tag": "dev"},
        "targets": [f"loaded=http://loaded.{space.namespace}:{service['ports'][0]['port']}"],
        "plan": PLAN,
        "workers": 2,
        "failIf": ["failed > 0%", "throughput < 1"],
        "extraArgs": ["--wait-ready=60"],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
    }
    space.apply(*load_test(space, values))
    job = until("the load test is over", lambda: leader(space), limit=240)
    log = space.run("logs", f"job/{job['metadata']['name']}", "--tail=-1")
    assert "report: /results/" in log
    assert "Traceback" not in log
    # Cluster and generator share a test machine: where that was too slow the run says so instead of judging.
    complete = any(c["type"] == "Complete" for c in job["status"]["conditions"])
    assert complete or "No verdict" in log, log


@pytest.mark.slow
def test_a_sweep_moves_k_through_the_resource_and_gives_the_bounds_back(space: Kubectl, tmp_path: Path) -> None:
    space.apply(simulated("swept"))
    wait_ready(space, "swept")
    before = space.get("specdep", "swept")["spec"]["tuning"]
    plan = parse_plan({**PLAN, "phases": [PLAN["phases"][1]]}, tmp_path)
    resource = Resource("swept", space.namespace or "default", str(space.kubeconfig), str(space.program))
    with reach(space, "swept") as url:
        target = Target("swept", url, (f"{url}/metrics",))
        sweep = Sweep(plan, target, parse_arms("2,6"), 1, "K2", tmp_path / "sweep")
        run_sweep(sweep, ByResource(resource), Options())
    found = summarise(sweep.folder)
    assert found.targets["K2"].overall.failures == found.targets["K6"].overall.failures == 0
    lengths = [found.targets[name].accepted_length or 0.0 for name in ("K2", "K6")]
    assert 1 < lengths[0] <= 3 < lengths[0] + lengths[1]
    assert space.get("specdep", "swept")["spec"]["tuning"] == before
    assert build_report(sweep.folder).html.exists()
