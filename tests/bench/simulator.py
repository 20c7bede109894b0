"""How many streams the simulator carries, on one core, beside figures of others (measured elsewhere, 2-core EPYC)."""

from __future__ import annotations

import json
import os
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from tests.bench.figures import Figure, publish
from tests.bench.streams import read_streams
from tests.support.metrics import MetricsPage, parse_page
from tests.support.simulator import SimulatedEngine, simulators, speculative_config

ROUNDS: Final = 3
TICKS: Final = os.sysconf("SC_CLK_TCK")
GO: Final = "llm-d-inference-sim 0.10.2 (Go), measured elsewhere"


@dataclass(frozen=True, slots=True)
class Round:
    """cpu_seconds, rss_mib: of the server. behind: lost time over simulated time."""

    tokens: float
    wall_seconds: float
    cpu_seconds: float
    rss_mib: float
    behind: float

    @property
    def cpu_ms_per_1000_tokens(self) -> float:
        return 1e6 * self.cpu_seconds / self.tokens


def main() -> None:
    cores = sorted(os.sched_getaffinity(0))
    server, client = cores[0], cores[-1]
    figures = [Figure("start to /health", start_seconds(), "s")]
    figures += fastest(server, client)
    figures += paced(server, client)
    publish("simulator", figures)


def start_seconds() -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.monotonic()
        with simulators():
            times.append(time.monotonic() - began)
    return median(times)


def fastest(server: int, client: int) -> list[Figure]:
    """As fast as it goes: steps of 0.1 ms, one token per step and request, as without speculation."""
    figures = []
    for streams, reference in ((64, 90_116), (256, 88_974)):
        with engine(0.1, server, speculation="") as one:
            rounds = [measured(one, streams, 512, client) for _ in range(ROUNDS)]
        # Of CPU time, not of wall time: on one core both are the same, and other work on the machine disturbs less.
        rate = median(r.tokens / r.cpu_seconds for r in rounds)
        figures.append(Figure(f"{streams} streams, as fast as it goes", rate, "tokens per CPU s", reference, GO))
    return figures


def paced(server: int, client: int) -> list[Figure]:
    """256 streams at a fixed step time: without speculation at 20 ms, with K = 7 at 15 ms."""
    with engine(20, server, speculation="") as one:
        plain = [measured(one, 256, 128, client) for _ in range(ROUNDS)]
    with engine(15, server, speculation=speculative_config()) as one:
        card = [measured(one, 256, 1600, client) for _ in range(ROUNDS)]
    cpu = median(r.cpu_ms_per_1000_tokens for r in plain)
    return [
        Figure("256 streams, 20 ms, no speculation: CPU", cpu, "ms per 1,000 tokens", 21, GO),
        Figure("256 streams, 20 ms, no speculation: memory", max(r.rss_mib for r in plain), "MiB", 145, GO),
        Figure("256 streams, 15 ms, K = 7: CPU", median(r.cpu_ms_per_1000_tokens for r in card), "ms per 1,000 tokens"),
        Figure(
            "256 streams, 15 ms, K = 7: of one core", median(100 * r.cpu_seconds / r.wall_seconds for r in card), "%"
        ),
        Figure("256 streams, 15 ms, K = 7: clock behind", 100 * max(r.behind for r in card), "%", 2, "goal, at most"),
    ]


@contextmanager
def engine(step_ms: float, cpu: int, *, speculation: str) -> Iterator[SimulatedEngine]:
    """A simulator on one core whose every step takes `step_ms`."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "costs.json"
        file.write_text(json.dumps(constant_costs(step_ms)))
        settings = {"COSTS": str(file), "MIX": "card-cumulative"}
        with simulators(settings=settings, speculation=speculation) as (one,):
            os.sched_setaffinity(one.process.pid, {cpu})
            yield one


def constant_costs(step_ms: float) -> dict[str, object]:
    """A table in the form of the shipped one: verification takes `step_ms`, drafting nothing."""
    nothing = [0.0, 0.0]
    return {
        "verify": {"tokens": [1, 4096], "ms": [step_ms, step_ms]},
        "draft": {
            "batch": [1, 512],
            "ms_by_k": {str(k): nothing for k in range(1, 8)},
            "ms_full_block": {"k=7, verify truncated to k": [nothing] * 7},
        },
    }


def measured(one: SimulatedEngine, streams: int, max_tokens: int, cpu: int) -> Round:
    before, cpu_before = page(one), cpu_seconds(one.process.pid)
    wall = read_streams(one.url, one.model, streams, max_tokens, cpu)
    after, cpu_after = page(one), cpu_seconds(one.process.pid)

    def rise(name: str) -> float:
        return after.total(name) - before.total(name)

    busy, slipped = (
        rise("specdec_simulator:clock_busy_seconds_total"),
        rise("specdec_simulator:clock_slipped_seconds_total"),
    )
    lag = after.total("specdec_simulator:clock_lag_seconds")
    tokens = rise("vllm:generation_tokens_total")
    assert tokens == streams * max_tokens
    return Round(tokens, wall, cpu_after - cpu_before, rss_mib(one.process.pid), (slipped + lag) / busy)


def page(one: SimulatedEngine) -> MetricsPage:
    with urllib.request.urlopen(f"{one.url}/metrics", timeout=10) as answer:
        return parse_page(answer.read().decode())


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_mib(pid: int) -> float:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
