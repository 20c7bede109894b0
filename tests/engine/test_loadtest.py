"""Our load generator against real vLLM: what it reads off the engine is what the engine was told to accept."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from loadtests.arms import parse_arms
from loadtests.live import LiveEngines
from loadtests.plan import parse_plan
from loadtests.records import CounterWindow, Target, read_requests, read_rows
from loadtests.run import Options
from loadtests.sampling import DRAIN, WARMUP
from loadtests.summary import summarise
from loadtests.sweep import Sweep, run_sweep
from tests.engine.servers import CONTROL_TOKEN, HIGH_ACCEPTANCE, Server

STANDARD_ERRORS = 4.5
PLAN: dict[str, Any] = {
    "name": "real vLLM on a CPU",
    "api": "completions",
    "warmupSeconds": 2,
    "perChunkUsage": True,
    "scenarios": {"chat": {"style": "chat", "domain": "chat", "prompt": {"median": 16}, "output": {"median": 48}}},
    "phases": [{"name": "two users", "seconds": 8, "load": {"users": 2}}],
}


def drafts(sweep: Sweep, arm: str) -> float:
    """How many the figures rest on: few, on a busy machine."""
    windows = read_rows(sweep.folder / "counters.jsonl", CounterWindow)
    return sum(w.drafts for w in windows if w.target == arm and w.label not in {WARMUP, DRAIN})


def test_a_sweep_on_real_vllm_sees_the_acceptance_that_was_set(server: Server, tmp_path: Path) -> None:
    server.set_acceptance(HIGH_ACCEPTANCE)
    target = Target("vllm", server.url, (f"{server.url}/metrics",))
    sweep = Sweep(parse_plan(PLAN, tmp_path), target, parse_arms("0,1,7"), 1, "K0", tmp_path / "sweep")
    run_sweep(sweep, LiveEngines((server.url,), CONTROL_TOKEN), Options())
    found = summarise(sweep.folder).targets
    assert {name: arm.overall.failed for name, arm in found.items()} == {"K0": {}, "K1": {}, "K7": {}}
    assert found["K0"].accepted_length is None
    for name, rates in (("K1", HIGH_ACCEPTANCE[:1]), ("K7", HIGH_ACCEPTANCE)):
        error = STANDARD_ERRORS / math.sqrt(drafts(sweep, name))
        assert found[name].accepted_length == pytest.approx(1 + sum(rates), abs=error * len(rates) ** 0.5)
        assert found[name].per_position == pytest.approx(rates, abs=error / 2)
    for name in found:
        records = read_requests(sweep.folder, name)
        assert all(sum(r.chunk_tokens) == r.output_tokens for r in records if not r.failure), "usage per chunk adds up"
