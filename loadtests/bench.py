"""How many streamed tokens per second one core can take in, beside a plain httpx loop on the same stub in the same run.

    python -m loadtests.bench [--out FILE]

One token per chunk, no pause between chunks, 64 streams at once. Both figures are tokens per second of the client's own
CPU time, because stub and client share the machine; wall-clock rates stand beside.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from loadtests.plan import Plan, parse_plan
from loadtests.records import Target, read_generator, read_requests, write_json
from loadtests.run import run
from loadtests.stubbed import StubProcess

GOAL: Final = 2000.0
STREAMS: Final = 64
TOKENS: Final = 200
_STUB: Final = ("--ttft-ms", "1", "--step-ms", "0")


@dataclass(frozen=True, slots=True)
class Rate:
    """tokens: streamed. cpu_seconds: of the client. seconds: from start to end of the load."""

    tokens: int
    cpu_seconds: float
    seconds: float

    @property
    def per_core(self) -> float:
        return self.tokens / self.cpu_seconds

    @property
    def per_second(self) -> float:
        return self.tokens / self.seconds


def of_generator(seconds: float) -> Rate:
    """The locust generator: everything that it does during a run, records included."""
    with StubProcess(*_STUB) as stub, tempfile.TemporaryDirectory() as folder:
        run(_plan(seconds), [Target("stub", stub.url)], Path(folder))
        report = read_generator(Path(folder), "stub")
        records = read_requests(Path(folder), "stub")
    assert report is not None
    tokens = sum(record.output_tokens or 0 for record in records)
    return Rate(tokens, report.cpu_seconds, report.seconds)


def of_httpx(seconds: float) -> Rate:
    """The baseline, in a process of its own: httpx, `aiter_lines`, one JSON object per line."""
    with StubProcess(*_STUB) as stub:
        command = [sys.executable, "-m", "loadtests.bench", "--httpx", stub.url, "--seconds", str(seconds)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds * 4 + 60)  # noqa: S603 - ours
    return Rate(**json.loads(done.stdout))


def _plan(seconds: float) -> Plan:
    exact = {"median": TOKENS, "spread": 0}
    content: dict[str, Any] = {
        "name": "speed",
        "scenarios": {"chat": {"style": "chat", "domain": "chat", "prompt": {"median": 20}, "output": exact}},
        "phases": [{"name": "all", "seconds": seconds, "load": {"users": STREAMS}}],
    }
    return parse_plan(content, Path())


async def _httpx_loop(url: str, seconds: float) -> Rate:
    end = time.perf_counter() + seconds
    body = {"model": "stub", "max_tokens": TOKENS, "messages": [], "stream": True}
    tokens = 0

    async def user(client: httpx.AsyncClient) -> None:
        nonlocal tokens
        while time.perf_counter() < end:
            async with client.stream("POST", f"{url}/v1/chat/completions", json=body) as answer:
                async for line in answer.aiter_lines():
                    if line.startswith("data: {"):
                        event = json.loads(line[6:])
                        tokens += bool(event["choices"] and event["choices"][0]["delta"].get("content"))

    limits = httpx.Limits(max_connections=STREAMS)
    began, cpu = time.perf_counter(), time.process_time()
    async with httpx.AsyncClient(timeout=60, limits=limits) as client:
        await asyncio.gather(*(user(client) for _ in range(STREAMS)))
    return Rate(tokens, time.process_time() - cpu, time.perf_counter() - began)


def compare(seconds: float, rounds: int) -> dict[str, Any]:
    """Both, in turn, `rounds` times; medians of tokens per CPU second."""
    pairs = [(of_generator(seconds), of_httpx(seconds)) for _ in range(rounds)]
    ours, plain = (statistics.median(pair[side].per_core for pair in pairs) for side in (0, 1))
    return {
        "tokensPerCoreSecond": {"generator": round(ours), "httpx": round(plain)},
        "tokensPerSecond": {
            name: round(statistics.median(pair[side].per_second for pair in pairs))
            for side, name in enumerate(("generator", "httpx"))
        },
        "ratio": round(ours / plain, 2),
        "goal": GOAL,
        "rounds": [{"generator": asdict(a), "httpx": asdict(b)} for a, b in pairs],
        "peakMemoryMiB": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Speed of the generator")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--httpx", metavar="URL", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.httpx:
        print(json.dumps(asdict(asyncio.run(_httpx_loop(given.httpx, given.seconds)))))
        return 0
    found = compare(given.seconds, given.rounds)
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        write_json(given.out, found)
    rates = found["tokensPerCoreSecond"]
    print(f"streamed tokens per core and second: generator {rates['generator']:,}, plain httpx loop {rates['httpx']:,}")
    print(f"ratio {found['ratio']}; goal for the generator {GOAL:,.0f}")
    return 0 if rates["generator"] >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
