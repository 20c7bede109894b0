"""Chat traffic for tests: many requests at once, each a stream whose tokens are counted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True, slots=True)
class Answer:
    """What one client saw. chunks: events with text; usage: of the last event."""

    status: int
    chunks: int
    text: str
    finish_reason: str | None
    usage: Mapping[str, int]
    error: str | None = None


async def stream_chat(
    client: httpx.AsyncClient,
    model: str,
    *,
    max_tokens: int = 32,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> Answer:
    """One streamed chat completion that runs to its token limit."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "What does a draft cost?"}],
        "max_tokens": max_tokens,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
        **more,
    }
    async with client.stream("POST", "/v1/chat/completions", json=body, headers=headers) as response:
        if response.status_code != 200:
            return Answer(response.status_code, 0, "", None, {}, (await response.aread()).decode())
        return await _read(response)


async def chat_at_once(
    client: httpx.AsyncClient, model: str, count: int, *, max_tokens: int = 32, **more: Any
) -> list[Answer]:
    """`count` requests in flight together."""
    return await asyncio.gather(*(stream_chat(client, model, max_tokens=max_tokens, **more) for _ in range(count)))


async def _read(response: httpx.Response) -> Answer:
    chunks, text, finish_reason, error = 0, "", None, None
    usage: Mapping[str, int] = {}
    async for line in response.aiter_lines():
        if not line.startswith("data: ") or line == "data: [DONE]":
            continue
        event = json.loads(line.removeprefix("data: "))
        if "error" in event:
            error = event["error"]["message"]
            continue
        usage = event.get("usage") or usage
        for choice in event["choices"]:
            chunks += bool(choice["delta"].get("content"))
            text += choice["delta"].get("content") or ""
            finish_reason = choice["finish_reason"] or finish_reason
    return Answer(response.status_code, chunks, text, finish_reason, usage, error)
