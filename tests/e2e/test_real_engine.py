"""Real vLLM in the real cluster, run by the operator: small models on the CPU, acceptance as the test sets it.

One engine for all: a start takes half a minute. The last test deletes it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.e2e.looks import await_condition, owned, pod_ids, schedule, status, wait_ready
from tests.e2e.resources import on_cpu
from tests.engine.load import Between, load, page
from tests.engine.pod import PodEngine, engine_of
from tests.engine.servers import HIGH_ACCEPTANCE, LOW_ACCEPTANCE, SERVED_NAME
from tests.support.kubectl import Kubectl, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

NAME = "real"
BUSY = 16
START_SECONDS = 480
LONG = 1000  # tokens, one a step: 20 s and more
# The operator's own, before the engine is told to stop: only what runs longer shows that the engine drains.
PRE_STOP_SECONDS = 10.0


@pytest.fixture(scope="module")
def space(cluster: Kubectl, operator: Kubectl) -> Iterator[Kubectl]:
    cluster.run("create", "namespace", "e2e-real-engine")
    yield cluster.within("e2e-real-engine")
    cluster.run("delete", "namespace", "e2e-real-engine", "--wait=false")


@pytest.fixture(scope="module")
def engine(space: Kubectl) -> Iterator[PodEngine]:
    space.apply(on_cpu(NAME, HIGH_ACCEPTANCE, SERVED_NAME))
    until("the operator saw it", lambda: status(space, NAME))
    wait_ready(space, NAME, START_SECONDS)
    with engine_of(space, NAME) as found:
        yield found


def k_at(space: Kubectl, batch: int) -> int:
    return next((t["numSpeculativeTokens"] for t in schedule(space, NAME) if batch <= t["toBatch"]), 0)


def test_it_answers_is_scraped_and_tells_what_it_can(space: Kubectl, engine: PodEngine) -> None:
    chat = {"model": SERVED_NAME, "messages": [{"role": "user", "content": "What drafts?"}], "max_tokens": 16}
    assert engine.http.post("/v1/chat/completions", json=chat).json()["usage"]["completion_tokens"] == 16
    with load(engine, concurrency=2) as outcome:
        await_condition(space, NAME, "MetricsAvailable", "True")
        until("acceptance is shown", lambda: status(space, NAME).get("acceptance", {}).get("meanAcceptedLength"))
    assert outcome.failures == []
    told = status(space, NAME)["engine"]
    assert told["version"] in engine.http.get("/version").json()["version"]
    assert {c["name"]: c["status"] for c in told["capabilities"]} == {"LiveSwitching": True, "ExactCounters": True}


def test_k_falls_live_where_a_long_draft_costs(space: Kubectl, engine: PodEngine) -> None:
    pods = pod_ids(space)
    engine.set_acceptance(LOW_ACCEPTANCE)
    with load(engine, BUSY, max_tokens=96) as outcome:
        until("K of at most 4 for a full batch", lambda: 0 < k_at(space, BUSY) <= 4, limit=300)
        revision = page(engine).total("specdec:schedule_revision")
        settled = page(engine)
        until("drafts under it", lambda: Between(settled, page(engine)).rise("specdec:drafts_total") > 500)
        drafted = Between(settled, page(engine)).mean_k
        entry = until("the move is in the history", lambda: status(space, NAME).get("history"), limit=300)[0]
    assert outcome.failures == []
    assert revision > 0
    assert drafted < 6, "the engine drafts what the status says"
    assert pod_ids(space) == pods
    assert entry["predictedGainPercent"] is not None


def test_an_answer_under_way_is_finished_when_the_resource_is_deleted(space: Kubectl, engine: PodEngine) -> None:
    engine.set_acceptance([0.01] * 7)
    body = {"model": SERVED_NAME, "prompt": [10] * 16, "max_tokens": LONG, "temperature": 0, "ignore_eos": True}
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(engine.http.post, "/v1/completions", json=body)
        until("it runs", lambda: page(engine).total("vllm:num_requests_running") == 1)
        space.run("delete", "specdep", NAME, "--wait=true")
        began = time.monotonic()
        found = answer.result()
    assert found.status_code == httpx.codes.OK
    assert found.json()["usage"]["completion_tokens"] == LONG
    assert time.monotonic() - began > PRE_STOP_SECONDS, "the engine was told to stop before the answer was over"
    until("all children are gone", lambda: not owned(space, NAME))
    until("the pod is gone", lambda: not space.list("pods"))
