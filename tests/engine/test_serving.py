"""What users get from an engine with our plugins: the same answers, errors in words, a clean end."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path

import httpx

from specdec.api.schedule import Schedule, Tier
from specdec.engine.live import LiveClient
from specdec.engine.target import Target
from tests.engine.environment import PLUGINS, EngineEnvironment, write_entry_points
from tests.engine.load import load
from tests.engine.servers import CONTROL_TOKEN, FLOAT32, SERVED_NAME, Server, ServerSpec, Zygote, dflash, until
from tests.support.patience import PATIENCE_SECONDS

PROMPTS = [[10 + (7 * i + 13 * j) % 900 for j in range(40 + 17 * i)] for i in range(6)]


def token_ids(server: Server) -> list[list[int]]:
    return [server.complete(p, max_tokens=48, return_token_ids=True)["choices"][0]["token_ids"] for p in PROMPTS]


def test_a_release_that_was_not_checked_ends_the_start(engine_environment: EngineEnvironment, tmp_path: Path) -> None:
    """vLLM logs and forgets a plugin that it cannot load; ours must not be one of those."""
    write_entry_points(tmp_path)
    start = "import vllm, vllm.plugins; vllm.__version__ = '0.34.0+cpu'; vllm.plugins.load_general_plugins()"
    variables = engine_environment.variables(tmp_path) | {"VLLM_PLUGINS": ",".join(PLUGINS)}
    done = subprocess.run(
        [engine_environment.python, "-c", start],
        env=variables,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode != 0
    assert "was not checked against vLLM 0.34.0+cpu. Use one of 0.32.0, 0.33.0" in done.stderr


def test_chat(server: Server) -> None:
    messages = [{"role": "user", "content": "What does the scheduler do?"}]
    answer = server.http.post(
        "/v1/chat/completions", json={"model": SERVED_NAME, "messages": messages, "max_tokens": 16}
    )
    assert answer.status_code == 200
    assert answer.json()["usage"]["completion_tokens"] == 16


def test_greedy_output_is_the_same_with_and_without_speculation(zygote: Zygote, models: Path) -> None:
    with zygote.serve(ServerSpec(models / "tiny", None, FLOAT32), "plain") as plain:
        expected = token_ids(plain)
        capabilities = {c["name"]: c for c in plain.speculation()["capabilities"]}
        refused = plain.put({"revision": 1, "off": True})
    assert (capabilities["LiveSwitching"]["status"], capabilities["LiveSwitching"]["reason"]) == (
        False,
        "NoSpeculation",
    )
    assert (refused.status_code, refused.json()["error"]["reason"]) == (501, "LiveSwitchingUnavailable")
    with zygote.serve(ServerSpec(models / "tiny", dflash(models / "tiny.dflash"), FLOAT32), "greedy") as speculative:
        for k in (7, 3):
            speculative.set_k(k)
            assert token_ids(speculative) == expected


def test_without_a_start_schedule_k_is_fixed_and_the_remedy_is_told(zygote: Zygote, models: Path) -> None:
    fixed = dflash(models / "tiny.dflash") | {"num_speculative_tokens_per_batch_size": None}
    key = ["--api-key", "key-of-the-users"]
    with zygote.serve(ServerSpec(models / "tiny", fixed, key), "fixed") as server:
        server.http.headers["Authorization"] = "Bearer key-of-the-users"
        seen = server.speculation()
        refused = server.put({"revision": 1, "off": True})
        del server.http.headers["Authorization"]
        assert server.http.get("/v1/speculation", headers=server.control()).status_code == 401
        only_token = {"Authorization": f"Bearer {CONTROL_TOKEN}"}
        assert server.http.get("/v1/speculation", headers=only_token).status_code == 401
    live = next(c for c in seen["capabilities"] if c["name"] == "LiveSwitching")
    assert (live["status"], live["reason"]) == (False, "NoStartSchedule")
    assert "num_speculative_tokens_per_batch_size" in live["message"]
    assert [w["reason"] for w in seen["warnings"]] == ["NoStartSchedule"]
    assert refused.status_code == 501


async def test_the_operators_live_client_changes_the_schedule(server: Server) -> None:
    target = Target("pod", "1", server.url, control_token=CONTROL_TOKEN)
    wanted = Schedule((Tier(1, 4, 7), Tier(5, 16, 3)))
    async with LiveClient() as client:
        before = await client.get(target)
        answer = await client.put(
            target, wanted, revision=before.schedule.revision + 1, if_revision=before.schedule.revision
        )
        after = await client.get(target)
    assert answer.schedule(16) == after.schedule.schedule(16) == wanted
    assert after.limits.max_batch == 16


def test_requests_under_way_finish_when_the_engine_is_told_to_end(zygote: Zygote, models: Path) -> None:
    # The options that the operator renders, besides.
    rendered = (
        "--tensor-parallel-size 1 --gpu-memory-utilization 0.9 --max-num-batched-tokens 2048 "
        "--max-cudagraph-capture-size 128"
    )
    options = [*rendered.split(), "--shutdown-timeout", "30"]
    spec = ServerSpec(models / "tiny", dflash(models / "tiny.dflash"), options)
    with zygote.serve(spec, "drained") as server:
        answers: list[httpx.Response] = []
        body = {"model": SERVED_NAME, "prompt": PROMPTS[0], "max_tokens": 400, "temperature": 0, "ignore_eos": True}
        request = threading.Thread(
            target=lambda: answers.append(
                httpx.post(f"{server.url}/v1/completions", json=body, timeout=PATIENCE_SECONDS)
            )
        )
        request.start()
        until(lambda: server.running() == 1, PATIENCE_SECONDS, "the request to run")
        os.kill(server.pid, signal.SIGTERM)
        request.join(PATIENCE_SECONDS)
        until(lambda: not server.alive, PATIENCE_SECONDS, "the engine's end")
    assert [a.status_code for a in answers] == [200]
    assert answers[0].json()["usage"]["completion_tokens"] == 400


def test_load_is_served_while_the_schedule_changes_often(server: Server) -> None:
    with load(server, concurrency=8, max_tokens=32) as outcome:
        for k in (1, 7, 2, 6, 3, 5, 4, 0, 7) * 3:
            server.set_k(k)
    assert outcome.failures == []
