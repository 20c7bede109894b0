"""A client that does as little as possible: it opens streams and reads them to their end, in a process of its own."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
from functools import partial
from multiprocessing.connection import Connection
from typing import cast

import uvloop


def read_streams(url: str, model: str, count: int, max_tokens: int, cpu: int | None = None) -> float:
    """Wall seconds until `count` streams of `max_tokens` tokens that start together have ended."""
    host, port = url.removeprefix("http://").split(":")
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_client, args=(theirs, host, int(port), model, count, max_tokens, cpu)
    )
    process.start()
    try:
        while not ours.poll(1):
            if process.exitcode is not None:
                raise RuntimeError(f"the client ended with {process.exitcode}")
        return float(ours.recv())
    finally:
        process.join(10)


LIMIT_SECONDS = 300


class _Reader(asyncio.Protocol):
    def __init__(self, request: bytes, done: asyncio.Future[int]) -> None:
        self._request, self._done, self._bytes, self._end = request, done, 0, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes.
        cast(asyncio.Transport, transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        self._bytes += len(data)
        self._end = (self._end + data)[-64:]

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None and b"[DONE]" in self._end:
            self._done.set_result(self._bytes)
        else:
            self._done.set_exception(exc or RuntimeError(f"a stream ended early: {self._end!r}"))


def _client(result: Connection, host: str, port: int, model: str, count: int, max_tokens: int, cpu: int | None) -> None:
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    result.send(uvloop.run(_read_all(host, port, _request(host, model, max_tokens), count)))


async def _read_all(host: str, port: int, request: bytes, count: int) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    ends = []
    for _ in range(count):
        done: asyncio.Future[int] = loop.create_future()
        await loop.create_connection(partial(_Reader, request, done), host, port)
        ends.append(done)
    async with asyncio.timeout(LIMIT_SECONDS):
        await asyncio.gather(*ends)
    return loop.time() - began


def _request(host: str, model: str, max_tokens: int) -> bytes:
    message = {"role": "user", "content": "How long is a step?"}
    body = json.dumps({"model": model, "messages": [message], "max_tokens": max_tokens, "stream": True}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body
