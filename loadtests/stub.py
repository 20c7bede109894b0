"""A server with known latencies, to test the generator against: it answers like vLLM and stamps what it did.

    python -m loadtests.stub --ttft-ms 50 --step-ms 20 --tokens-per-step 3

The first output of a request comes after its time to first token, each further step at a fixed interval on an
absolute clock. `GET /stamps` lists per request (by the `seed` in its body) when it really wrote, so that the
generator's figures can be held against what happened, not against what was planned on a busy machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from random import Random
from typing import Any, Final

from loadtests.priority import ask_for_priority

MODEL: Final = "stub"
UNLIMITED: Final = 1_000_000
_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_TLS_HELLO: Final = b"\x16"
_WEBSITE: Final = b"<html><body>Welcome</body></html>"
FAULTS: Final = ("", "401", "404", "500", "close", "error", "html", "no-usage", "hang", "garbage")
# all of FAULTS in turn; and what concerns every route: a key that is not known, and a web page instead of the API
CHOICES: Final = (*FAULTS, "each", "locked", "website")


@dataclass(frozen=True, slots=True)
class Latencies:
    """ttft_spread: sigma of the log-normal factor on the time to first token, by the request's seed."""

    ttft_ms: float = 50.0
    ttft_spread: float = 0.0
    step_ms: float = 20.0
    tokens_per_step: int = 1

    def ttft_seconds(self, seed: int) -> float:
        return self.ttft_ms * Random(seed).lognormvariate(0.0, self.ttft_spread) / 1e3


@dataclass(slots=True)
class Stub:
    """fault: how each request goes wrong, one of CHOICES, '' for not at all.
    seats: how many requests are served at once. stamps: one per request that was answered to its end.
    """

    latencies: Latencies
    fault: str = ""
    seats: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(UNLIMITED))
    stamps: list[dict[str, Any]] = field(default_factory=list)
    turns: Iterator[str] = field(default_factory=lambda: cycle(FAULTS))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, any number of requests after each other."""
        try:
            while first := await reader.read(1):
                if first == _TLS_HELLO:  # as servers do that speak plain HTTP on this port
                    _whole(writer, 400, {"error": {"message": "Client sent an HTTPS request to an HTTP server."}})
                    return
                head = first + await reader.readuntil(b"\r\n\r\n")
                received = time.perf_counter()
                length = next(
                    (
                        int(line.split(b":")[1])
                        for line in head.lower().split(b"\r\n")
                        if line.startswith(b"content-length")
                    ),
                    0,
                )
                content = await reader.readexactly(length)
                await self._answer(head.split(b" ", 2)[1].decode(), content, writer, received)
        except (asyncio.IncompleteReadError, ConnectionError, _Hangup):
            pass
        finally:
            writer.close()

    async def _answer(self, path: str, content: bytes, writer: asyncio.StreamWriter, received: float) -> None:
        fault = next(self.turns) if self.fault == "each" else self.fault
        if path == "/stamps":
            _whole(writer, 200, self.stamps)
        elif fault == "locked":
            _whole(writer, 401, {"error": "Unauthorized"})
        elif fault == "website":
            _raw(writer, 200, _WEBSITE, "text/html")
        elif path == "/v1/models":
            _whole(writer, 200, {"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        elif path != "/v1/models" and fault in {"401", "404", "500"}:
            _whole(writer, int(fault), {"error": {"message": f"as told: {fault}"}})
        elif fault == "html":
            _raw(writer, 200, _WEBSITE, "text/html")
        elif fault == "hang":
            await asyncio.sleep(3600)
        elif path in {"/v1/chat/completions", "/v1/completions"}:
            waited = self.seats.locked()
            async with self.seats:
                await self._stream(json.loads(content), writer, time.perf_counter() if waited else received, fault)
        else:
            _whole(writer, 404, {"error": {"message": f"no route {path}"}})
        await writer.drain()

    async def _stream(self, asked: dict[str, Any], writer: asyncio.StreamWriter, received: float, fault: str) -> None:
        seed, tokens = int(asked.get("seed", 0)), int(asked["max_tokens"])
        per_chunk = asked.get("stream_options", {}).get("continuous_usage_stats", False)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        if "messages" in asked:
            _event(writer, {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
        if fault == "garbage":
            _chunk(writer, b"data: [1, 2\n\n")
        due = received + self.latencies.ttft_seconds(seed)
        made, wrote = 0, []
        while made < tokens:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            made = min(made + (self.latencies.tokens_per_step if made else 1), tokens)
            usage = {"prompt_tokens": 10, "completion_tokens": made, "total_tokens": 10 + made}
            wrote.append(time.perf_counter())
            output = {"text": "word "} if "prompt" in asked else {"delta": {"content": "word "}}
            _event(writer, {"choices": [{"index": 0, **output}], **({"usage": usage} if per_chunk else {})})
            due += self.latencies.step_ms / 1e3
            _go_wrong(fault, writer, made)
        if fault != "no-usage":
            _event(writer, {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": made}})
        _chunk(writer, b"data: [DONE]\n\n")
        writer.write(b"0\r\n\r\n")
        self.stamps.append({"seed": seed, "received": received, "first": wrote[0], "last": wrote[-1], "tokens": made})


def _go_wrong(fault: str, writer: asyncio.StreamWriter, made: int) -> None:
    if fault == "close" and made > 1:
        raise _Hangup
    if fault == "error" and made > 1:
        _event(writer, {"error": {"message": "the engine died", "code": 500}})
        raise _Hangup


class _Hangup(Exception):
    """Close the connection now."""


def _event(writer: asyncio.StreamWriter, content: object) -> None:
    _chunk(writer, b"data: " + json.dumps(content).encode() + b"\n\n")


def _chunk(writer: asyncio.StreamWriter, content: bytes) -> None:
    writer.write(b"%x\r\n%s\r\n" % (len(content), content))


def _whole(writer: asyncio.StreamWriter, status: int, content: object) -> None:
    _raw(writer, status, json.dumps(content).encode(), "application/json")


def _raw(writer: asyncio.StreamWriter, status: int, content: bytes, kind: str) -> None:
    head = f"HTTP/1.1 {status} Told\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n\r\n"
    writer.write(head.encode() + content)


async def _main(stub: Stub, port: int) -> None:
    server = await asyncio.start_server(stub.serve, "127.0.0.1", port, limit=2**22)
    print(f"listening on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    # whoever started it holds the other end of standard input: when that closes, nobody needs it any more
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="A server with known latencies")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ttft-ms", type=float, default=50.0)
    parser.add_argument("--ttft-spread", type=float, default=0.0)
    parser.add_argument("--step-ms", type=float, default=20.0)
    parser.add_argument("--tokens-per-step", type=int, default=1)
    parser.add_argument("--seats", type=int, default=UNLIMITED, help="requests served at once; others wait")
    parser.add_argument("--fault", choices=CHOICES, default="")
    given = parser.parse_args(arguments)
    ask_for_priority()  # what it promises should not depend on its neighbours
    latencies = Latencies(given.ttft_ms, given.ttft_spread, given.step_ms, given.tokens_per_step)
    asyncio.run(_main(Stub(latencies, given.fault, asyncio.Semaphore(given.seats)), given.port))


if __name__ == "__main__":
    main()
