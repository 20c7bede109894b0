"""Our load generator against real vLLM: what it reads off the engine is what the engine was told to accept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loadtests.arms import LiveEngines, parse_arms
from loadtests.plan import parse_plan
from loadtests.records import Target, read_requests
from loadtests.run import Options
from loadtests.summary import summarise
from loadtests.sweep import Sweep, run_sweep
from tests.engine.servers import CONTROL_TOKEN, HIGH_ACCEPTANCE, Server

PLAN: dict[str, Any] = {
    "name": "real vLLM on a CPU",
    "api": "completions",
    "warmupSeconds": 2,
    "perChunkUsage": True,
    "scenarios": {"chat": {"style": "chat", "domain": "chat", "prompt": {"median": 16}, "output": {"median": 48}}},
    "phases": [{"name": "two users", "seconds": 8, "load": {"users": 2}}],
}


def test_a_sweep_on_real_vllm_sees_the_acceptance_that_was_set(server: Server, tmp_path: Path) -> None:
    server.set_acceptance(HIGH_ACCEPTANCE)
    target = Target("vllm", server.url, (f"{server.url}/metrics",))
    sweep = Sweep(parse_plan(PLAN, tmp_path), target, parse_arms("0,1,7"), 1, "K0", tmp_path / "sweep")
    run_sweep(sweep, LiveEngines((server.url,), CONTROL_TOKEN), Options())
    found = summarise(sweep.folder).targets
    assert {name: arm.overall.failed for name, arm in found.items()} == {"K0": {}, "K1": {}, "K7": {}}
    assert found["K0"].accepted_length is None
    assert found["K1"].accepted_length == pytest.approx(1.8, abs=0.15)
    assert found["K7"].accepted_length == pytest.approx(1 + sum(HIGH_ACCEPTANCE), abs=0.35)
    assert found["K7"].per_position == pytest.approx(HIGH_ACCEPTANCE, abs=0.12)
    for name in found:
        records = read_requests(sweep.folder, name)
        assert all(sum(r.chunk_tokens) == r.output_tokens for r in records if not r.failure), "usage per chunk adds up"
