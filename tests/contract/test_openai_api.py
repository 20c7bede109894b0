"""The simulator seen by an OpenAI client."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.support.chat import chat_at_once, stream_chat
from tests.support.patience import PATIENCE_SECONDS
from tests.support.simulator import MODEL, SimulatedEngine, simulators

CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "Count to ten."}]


@pytest.fixture
def model(simulator: SimulatedEngine) -> str:
    return simulator.model


async def post(http: httpx.AsyncClient, path: str = CHAT, **body: Any) -> httpx.Response:
    return await http.post(path, json=body)


async def test_a_chat_completion(http: httpx.AsyncClient, model: str) -> None:
    answer = (await post(http, model=model, messages=MESSAGES, max_tokens=20)).json()
    assert answer["object"] == "chat.completion"
    assert answer["model"] == model
    assert answer["id"].startswith("chatcmpl-")
    (choice,) = answer["choices"]
    assert choice["message"]["role"] == "assistant"
    assert len(choice["message"]["content"].split()) == 20
    assert choice["finish_reason"] == "length"
    prompt = answer["usage"]["prompt_tokens"]
    assert prompt > 0
    assert answer["usage"] == {"prompt_tokens": prompt, "total_tokens": prompt + 20, "completion_tokens": 20}


async def test_a_completion(http: httpx.AsyncClient, model: str) -> None:
    answer = (await post(http, "/v1/completions", model=model, prompt="Once upon a time", max_tokens=9)).json()
    assert answer["object"] == "text_completion"
    assert len(answer["choices"][0]["text"].split()) == 9
    tokens = (await post(http, "/v1/completions", model=model, prompt=[1] * 70)).json()
    assert (tokens["usage"]["prompt_tokens"], tokens["usage"]["completion_tokens"]) == (70, 16)


async def test_a_stream_brings_the_tokens_of_a_step_together(http: httpx.AsyncClient, model: str) -> None:
    answer = await stream_chat(http, model, max_tokens=64)
    assert len(answer.text.split()) == answer.usage["completion_tokens"] == 64
    assert answer.finish_reason == "length"
    assert 64 / 8 <= answer.chunks < 64


async def test_a_stream_ends_with_done_and_without_usage_unless_asked(http: httpx.AsyncClient, model: str) -> None:
    text = (await post(http, model=model, messages=MESSAGES, max_tokens=5, stream=True)).text
    events = [line.removeprefix("data: ") for line in text.splitlines() if line]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert all("usage" not in chunk for chunk in chunks)
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}


async def test_usage_can_come_with_every_chunk(http: httpx.AsyncClient, model: str) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    text = (await post(http, model=model, messages=MESSAGES, max_tokens=12, stream=True, stream_options=options)).text
    chunks = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    counts = [chunk["usage"]["completion_tokens"] for chunk in chunks if "usage" in chunk]
    assert counts == sorted(counts)
    assert counts[-1] == 12
    assert len(counts) > 2


async def test_an_answer_without_a_limit_ends_by_itself(http: httpx.AsyncClient, model: str) -> None:
    answer = (await post(http, model=model, messages=MESSAGES)).json()
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert 128 <= answer["usage"]["completion_tokens"] <= 384


REFUSED = [
    pytest.param(CHAT, b"{", 400, "BadRequestError", id="no JSON"),
    pytest.param(CHAT, b"[]", 400, "BadRequestError", id="not an object"),
    pytest.param(CHAT, {"model": "gpt-5", "messages": MESSAGES}, 404, "NotFoundError", id="another model"),
    pytest.param(CHAT, {}, 400, "BadRequestError", id="no messages"),
    pytest.param(CHAT, {"messages": []}, 400, "BadRequestError", id="empty messages"),
    pytest.param(CHAT, {"messages": [{"content": "x"}]}, 400, "BadRequestError", id="a message without a role"),
    pytest.param(CHAT, {"messages": MESSAGES, "max_tokens": 0}, 400, "BadRequestError", id="no tokens"),
    pytest.param(CHAT, {"messages": MESSAGES, "max_tokens": 2_000_000}, 400, "BadRequestError", id="too many tokens"),
    pytest.param(CHAT, {"messages": MESSAGES, "max_tokens": "9"}, 400, "BadRequestError", id="tokens as text"),
    pytest.param(CHAT, {"messages": MESSAGES, "n": 2}, 400, "BadRequestError", id="two choices"),
    pytest.param(
        CHAT,
        {"messages": MESSAGES, "stream_options": {"include_usage": True}},
        400,
        "BadRequestError",
        id="stream options without a stream",
    ),
    pytest.param("/v1/completions", {"prompt": 7}, 400, "BadRequestError", id="a prompt that is a number"),
    pytest.param("/v1/completions", {"prompt": [1] * 2_000_000}, 400, "BadRequestError", id="a prompt too long"),
]


@pytest.mark.parametrize(("path", "body", "status", "kind"), REFUSED)
async def test_a_bad_request_is_refused_in_openais_form(
    http: httpx.AsyncClient, path: str, body: Any, status: int, kind: str
) -> None:
    answer = await http.post(path, content=body if isinstance(body, bytes) else json.dumps(body).encode())
    assert answer.status_code == status
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == (kind, status)
    assert error["message"]


async def test_models_version_health_and_load(http: httpx.AsyncClient, model: str) -> None:
    (served,) = (await http.get("/v1/models")).json()["data"]
    assert (served["id"], served["root"], served["owned_by"]) == (model, MODEL, "vllm")
    assert (await http.get("/version")).json() == {"version": "0.33.0"}
    assert [(await http.get(path)).status_code for path in ("/health", "/ping")] == [200, 200]
    assert (await http.get("/load")).json() == {"server_load": 0}
    assert (await http.get("/v1/nothing")).status_code == 404
    assert (await http.get(CHAT)).status_code in {404, 405}


@pytest.fixture
async def guarded() -> AsyncIterator[httpx.AsyncClient]:
    with simulators(api_key="k3y") as (engine,):
        async with httpx.AsyncClient(base_url=engine.url, timeout=PATIENCE_SECONDS) as client:
            yield client


async def test_an_api_key_guards_v1_and_nothing_else(guarded: httpx.AsyncClient) -> None:
    assert (await guarded.get("/v1/models")).status_code == 401
    assert (await guarded.post(CHAT, json={"messages": MESSAGES})).json() == {"error": "Unauthorized"}
    headers = {"Authorization": "Bearer k3y"}
    assert (await guarded.get("/v1/models", headers=headers)).status_code == 200
    assert [(await guarded.get(path)).status_code for path in ("/health", "/metrics", "/version")] == [200] * 3


async def test_a_client_that_leaves_disturbs_nobody(http: httpx.AsyncClient, model: str) -> None:
    others = asyncio.create_task(chat_at_once(http, model, 8, max_tokens=128))
    body = {"model": model, "messages": MESSAGES, "max_tokens": 100_000, "stream": True}
    for _ in range(10):
        async with http.stream("POST", CHAT, json=body) as response:
            await anext(response.aiter_lines())
    assert {a.usage["completion_tokens"] for a in await others} == {128}
    async with asyncio.timeout(PATIENCE_SECONDS):
        while "vllm:num_requests_running" in (page := (await http.get("/metrics")).text):
            running = next(line for line in page.splitlines() if line.startswith("vllm:num_requests_running{"))
            if running.endswith(" 0.0"):
                break
            await asyncio.sleep(0.02)
    assert (
        'vllm:request_success_total{engine="0",model_name="deepseek-v4-flash",finished_reason="abort"} 0.0' not in page
    )


async def test_a_client_that_does_not_read_holds_up_nobody_and_loses_nothing() -> None:
    tokens = 20_000
    body = json.dumps({"messages": MESSAGES, "max_tokens": tokens, "stream": True}).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with simulators(settings={"TIME_SCALE": "0.01", "MIX": "math"}) as (engine,):
        port = int(engine.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as idle:
            idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            idle.sendall(head + body)
            async with httpx.AsyncClient(base_url=engine.url, timeout=PATIENCE_SECONDS) as client:
                answers = await chat_at_once(client, engine.model, 4, max_tokens=64)
                assert {a.usage["completion_tokens"] for a in answers} == {64}
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while 'finished_reason="length"} 5.0' not in (await client.get("/metrics")).text:  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
            received = await asyncio.to_thread(read_to_the_end, idle)
    assert b"[DONE]" in received[-64:]
    text = re.findall(rb'"content":"([^"]*)"', received)
    assert sum(len(part.split()) for part in text) == tokens


def read_to_the_end(connection: socket.socket) -> bytes:
    connection.settimeout(PATIENCE_SECONDS)
    return b"".join(iter(lambda: connection.recv(1 << 20), b""))
