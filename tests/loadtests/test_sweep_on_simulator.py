"""A short sweep at the live endpoint of the simulator finds what its cost tables hold."""

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests.arms import LiveEngines, parse_arms
from loadtests.plan import load_plan
from loadtests.preflight import Access, served_model
from loadtests.records import Target
from loadtests.run import Options
from loadtests.summary import summarise
from loadtests.sweep import Cell, Sweep, run_sweep
from tests.loadtests.plans import write_plan
from tests.loadtests.test_distributed import free_port

TOKEN = "of-this-test"
MODEL = "deepseek-v4-flash"
SPECULATION = {"model": "RedHatAI/DeepSeek-V4-Flash-speculator.dflash", "num_speculative_tokens": 7, "method": "dflash"}


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[str]:
    token, port = tmp_path / "token", free_port()
    token.write_text(TOKEN)
    command = [sys.executable, "-m", "specdec_simulator", "serve", "deepseek-ai/DeepSeek-V4-Flash"]
    options = ["--served-model-name", MODEL, "--port", str(port), "--max-model-len", "65536"]
    paths = os.pathsep.join(entry for entry in sys.path if entry)
    process = subprocess.Popen(
        [*command, *options, "--speculative-config", json.dumps(SPECULATION)],
        env={**os.environ, "PYTHONPATH": paths, "SPECDEC_CONTROL_TOKEN_FILE": str(token)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        served_model(url, MODEL, Access(), wait_seconds=30)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def schedule(url: str) -> dict[str, object]:
    request = urllib.request.Request(f"{url}/v1/speculation", headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: dict[str, object] = json.load(answer)["schedule"]
    return found


def test_speculation_pays_at_a_small_batch_and_the_sweep_goes_on_where_it_was_cut_off(
    simulator: str, tmp_path: Path
) -> None:
    plan = write_plan(
        tmp_path,
        {"name": "small batch", "seconds": 4, "load": {"users": 3}, "mix": {"code": 1}},
        warmupSeconds=1,
        scenarios={"code": {"style": "code", "domain": "code", "prompt": {"median": 30}, "output": {"median": 60}}},
    )
    target = Target("simulator", simulator, (f"{simulator}/metrics",))
    sweep = Sweep(load_plan(plan), target, parse_arms("0,7"), 1, "K0", tmp_path / "sweep")
    before = schedule(simulator)["entries"]
    run_sweep(sweep, LiveEngines((simulator,), TOKEN), Options())
    assert schedule(simulator)["entries"] == before

    found = summarise(sweep.folder)
    assert found.targets["K7"].overall.failures == 0
    gain = found.gains["K7"]["overall"]
    assert gain is not None
    assert gain.value > 40  # its tables say 65 % at this batch
    assert found.targets["K0"].accepted_length is None
    assert found.targets["K7"].accepted_length is not None
    assert found.targets["K7"].accepted_length > 3

    lost = next(sweep.cells())
    shutil.rmtree(sweep.folder_of(lost))
    ran: list[Cell] = []
    run_sweep(sweep, LiveEngines((simulator,), TOKEN), Options(), on_cell=lambda cell, *_: ran.append(cell))
    assert ran == [lost]
