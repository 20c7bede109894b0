"""Load tests on a real cluster: the chart's Job, alone and leading workers, and sweeps through the resource."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from loadtests.arms import parse_arms
from loadtests.generator.job import Progress
from loadtests.live import LiveEngines
from loadtests.plan import Plan, parse_plan
from loadtests.records import Event, Sample, Target, read_rows
from loadtests.report import build_report
from loadtests.resource import Resource
from loadtests.run import Options, run
from loadtests.summary import TargetSummary, summarise
from loadtests.sweep import Sweep, run_sweep
from loadtests.switching import ByResource, PausedResource, Switch
from specdec.api import names
from tests.e2e.conftest import install
from tests.e2e.looks import wait_ready
from tests.e2e.resources import engine, simulated
from tests.support.kubectl import Kubectl, until
from tests.support.reach import reach

GENERATOR: Final = "app.kubernetes.io/component=loadtest"
# Of a busy machine the generator says that it was late and gives no verdict: not what is tested here.
DONE, LATE = 0, 4
JOB_PLAN: Final = {"name": "chat", "seconds": "8", "load.users": "2", "mix.chat": "1"}
KEY: Final = "of-this-test"
CHAT: Final[dict[str, Any]] = {
    "style": "chat",
    "domain": "chat",
    "prompt": {"median": 30},
    "output": {"median": 40, "spread": 0.2},
}


def with_key(operator: Kubectl, space: Kubectl, name: str) -> dict[str, Any]:
    """A resource whose engine wants an API key; the key lies in a Secret of both namespaces."""
    for at in (operator, space):
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"api-key": KEY}}
        at.apply(secret)
    return simulated(name, engine={**engine(), "apiKeySecretRef": {"name": "keys", "key": "api-key"}})


@pytest.mark.slow
@pytest.mark.parametrize("workers", [pytest.param(0, id="one pod"), pytest.param(2, id="two workers")])
def test_the_job_sends_its_plan_with_the_key_of_a_secret_and_prints_what_came_of_it(
    cluster: Kubectl, operator: Kubectl, space: Kubectl, workers: int
) -> None:
    space.apply(with_key(operator, space, "driven"))
    wait_ready(space, "driven")
    values = {
        "loadTest.enabled": "true",
        "loadTest.workers": str(workers),
        "loadTest.apiKeySecret.name": "keys",
        "loadTest.resources.requests.cpu": "50m",
        "loadTest.targets[0]": f"driven=http://driven.{space.namespace}:8000",
        "loadTest.failIf[0]": "failed > 0%",
        **{f"loadTest.plan.phases[0].{name}": value for name, value in JOB_PLAN.items()},
    }
    try:
        install(cluster, *(f"{name}={value}" for name, value in values.items()))
        ended = until("the load test has ended", lambda: last_state(operator), 240)
        said = operator.run("logs", "-l", GENERATOR, "--tail=-1")
        assert ended["exitCode"] in {DONE, LATE}, said
        assert "0 failed" in said
        assert "report.html" in said
        assert KEY not in said + operator.run("get", "jobs,pods", "-l", GENERATOR, "-o", "yaml")
    finally:
        install(cluster)


def last_state(operator: Kubectl) -> dict[str, Any] | None:
    """How the generator ended; None while it runs."""
    for pod in operator.list("pods", GENERATOR):
        for status in pod["status"].get("containerStatuses", []):
            if ended := status["state"].get("terminated"):
                return dict(ended)
    return None


def plan(folder: Path) -> Plan:
    phase = {"name": "closed", "seconds": 8, "load": {"users": 4}}
    fields = {"scenarios": {"chat": CHAT}, "drainSeconds": 10, "warmupSeconds": 1, "perChunkUsage": True}
    return parse_plan({"name": "in the cluster", "phases": [phase], **fields}, folder)


@contextmanager
def swept(space: Kubectl, name: str, folder: Path, arms: str, switch: Switch) -> Iterator[dict[str, TargetSummary]]:
    """What a sweep of one block found, and that nothing of the spec differs afterwards."""
    before = space.get("specdep", name)["spec"]
    with reach(space, name) as url:
        target = Target(name, url, (f"{url}/metrics",))
        sweep = Sweep(plan(folder), target, parse_arms(arms), 1, parse_arms(arms)[0].name, folder / "sweep")
        run_sweep(sweep, switch, Options(resources={name: resource_of(space, name)}))
    found = summarise(sweep.folder).targets
    assert {arm: target.overall.failed for arm, target in found.items()} == {name: {} for name in found}
    yield found
    assert space.get("specdep", name)["spec"] == before
    assert build_report(sweep.folder).html.exists()


def resource_of(space: Kubectl, name: str) -> Resource:
    return Resource(name, space.namespace or "default", str(space.kubeconfig), str(space.program))


def length(found: dict[str, TargetSummary], arm: str) -> float:
    return found[arm].accepted_length or 1.0


@pytest.mark.slow
def test_a_sweep_moves_k_through_the_resource_and_gives_the_bounds_back(space: Kubectl, tmp_path: Path) -> None:
    space.apply(simulated("swept"))
    wait_ready(space, "swept")
    switch = ByResource(resource_of(space, "swept"))
    with swept(space, "swept", tmp_path, "2,6,auto", switch) as found:
        assert 1 < length(found, "K2") <= 3
        assert length(found, "K2") < length(found, "K6")
        assert length(found, "auto") > 1


@pytest.mark.slow
def test_a_sweep_pauses_the_operator_for_what_only_engines_can_do(space: Kubectl, tmp_path: Path) -> None:
    space.apply(simulated("paused"))
    wait_ready(space, "paused")
    tiers = [(1, 8, 3), (9, 64, 1)]
    entries = [{"fromBatch": a, "toBatch": b, "numSpeculativeTokens": k} for a, b, k in tiers]
    (tmp_path / "mine.json").write_text(json.dumps({"entries": entries}))
    (pod,) = space.list("pods", names.selector_text("paused"))
    token = space.get("secret", names.control_secret("paused"))["data"][names.CONTROL_TOKEN_KEY]
    engines = LiveEngines((f"http://{pod['status']['podIP']}:{names.HTTP_PORT}",), base64.b64decode(token).decode())
    switch = PausedResource(resource_of(space, "paused"), engines)
    with swept(space, "paused", tmp_path, f"0,5,mine={tmp_path}/mine.json,auto", switch) as found:
        assert found["K0"].accepted_length is None
        assert 1 < length(found, "mine") <= 4
        assert length(found, "mine") < length(found, "K5")
        assert length(found, "auto") > 1
    assert "paused" in events_of_a_run(space, "paused", tmp_path)


def events_of_a_run(space: Kubectl, name: str, folder: Path) -> set[str]:
    """What a run told of its resource, which was paused meanwhile."""
    resource, told = resource_of(space, name), False

    def pause(_target: str, progress: Progress) -> None:
        nonlocal told
        if progress.t > 3 and not told:
            told = True
            resource.patch({"paused": True})

    with reach(space, name) as url:
        run(plan(folder), [Target(name, url)], folder / "run", Options(resources={name: resource}), on_progress=pause)
    assert any(sample.k for sample in read_rows(folder / "run" / "series.jsonl", Sample)), "K without a metrics page"
    return {event.text for event in read_rows(folder / "run" / "events.jsonl", Event)}
