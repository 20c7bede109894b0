"""A short sweep at the live endpoint of the simulator finds what its cost tables hold, and a peak what it can carry."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loadtests.arms import parse_arms
from loadtests.live import LiveEngines
from loadtests.peak import read_peaks
from loadtests.plan import load_plan
from loadtests.records import Target
from loadtests.run import Options
from loadtests.summary import summarise
from loadtests.sweep import Cell, Sweep, run_sweep
from tests.loadtests import browser
from tests.loadtests.command import loadtest
from tests.loadtests.plans import write_plan
from tests.loadtests.simulator import TOKEN, schedule, simulator
from tests.loadtests.waiting import wait_for
from tests.support.patience import PATIENCE_SECONDS

CODE = {"style": "code", "domain": "code", "prompt": {"median": 30}, "output": {"median": 60}}
MINE = {"entries": [{"fromBatch": 1, "toBatch": 2, "numSpeculativeTokens": 7}]}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[str]:
    with simulator(tmp_path) as url:
        yield url


def small_batch(folder: Path, seconds: float = 4.0) -> Path:
    phase = {"name": "small batch", "seconds": seconds, "load": {"users": 3}, "mix": {"code": 1}}
    return write_plan(folder, phase, warmupSeconds=1, perChunkUsage=True, scenarios={"code": CODE})


def test_speculation_pays_at_a_small_batch_and_the_sweep_goes_on_where_it_was_cut_off(
    engine: str, tmp_path: Path
) -> None:
    (tmp_path / "mine.json").write_text(json.dumps(MINE))
    arms = parse_arms(f"0,7,mine={tmp_path}/mine.json")
    target = Target("simulator", engine, (f"{engine}/metrics",))
    sweep = Sweep(load_plan(small_batch(tmp_path)), target, arms, 1, "K0", tmp_path / "sweep")
    before = schedule(engine)
    run_sweep(sweep, LiveEngines((engine,), TOKEN), Options())
    assert schedule(engine) == before

    found = summarise(sweep.folder)
    assert found.targets["K7"].overall.failures == 0
    gain = found.gains["K7"]["overall"]
    assert gain is not None
    assert gain.value > 40  # its tables say 65 % at this batch
    assert found.targets["K0"].accepted_length is None
    for name in ("K7", "mine"):  # a schedule of one K is that K
        length, seen = found.targets[name].accepted_length, found.targets[name].overall.chunk_length
        assert length is not None
        assert seen is not None
        assert length > 3
        assert seen.value == pytest.approx(length, rel=0.15)  # the client counts what the engine counts

    lost = next(sweep.cells())
    shutil.rmtree(sweep.folder_of(lost))
    ran: list[Cell] = []
    run_sweep(sweep, LiveEngines((engine,), TOKEN), Options(), on_cell=lambda cell, _: ran.append(cell))
    assert ran == [lost]


def test_a_sweep_that_was_ended_goes_on_and_leaves_the_engine_as_it_was(engine: str, tmp_path: Path) -> None:
    before, out = schedule(engine), tmp_path / "sweep"
    words = ["sweep", "--plan", str(small_batch(tmp_path, 3.0)), "--out", str(out), "--target", f"simulator={engine}"]
    words += ["--engine", engine, "--arms", "1,2", "--blocks", "1"]

    said = ended(words, signal.SIGTERM, lambda: schedule(engine) != before)
    assert "the same command goes on" in said
    assert schedule(engine) == before

    ended(words, signal.SIGKILL, lambda: schedule(engine) != before)  # nobody could put anything back
    assert schedule(engine) != before
    done = loadtest(*words, SPECDEC_CONTROL_TOKEN=TOKEN)
    assert done.returncode in {0, 4}, done.stderr
    assert schedule(engine) == before
    assert set(summarise(out).targets) == {"K1", "K2"}


def ended(words: list[str], how: signal.Signals, moment: Callable[[], bool]) -> str:
    """What a command said that was ended at a moment."""
    environment = {**os.environ, "SPECDEC_CONTROL_TOKEN": TOKEN}
    command = [sys.executable, "-m", "specdec.cli.main", "loadtest", *words]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        wait_for(moment)
        process.send_signal(how)
        said, _ = process.communicate(timeout=PATIENCE_SECONDS)
    return said


def test_somebody_else_changing_the_schedule_is_noticed(engine: str) -> None:
    with LiveEngines((engine,), TOKEN) as ours, LiveEngines((engine,), TOKEN) as theirs:
        (two, five) = parse_arms("2,5")
        ours.apply(two)
        ours.confirm(two)
        theirs.apply(five)
        with pytest.raises(Exception, match="no longer has the schedule of K2"):
            ours.confirm(two)


def test_the_peak_of_each_arm_is_found_and_reported(engine: str, tmp_path: Path) -> None:
    plan = write_plan(
        tmp_path,
        {"name": "code", "seconds": 1, "load": {"rate": 1}, "mix": {"code": 1}},
        scenarios={"code": {**CODE, "output": {"median": 40, "spread": 0}}},
        objectives={
            "tpotMs": 7
        },  # without speculation one step takes more at any batch, with K = 7 less at a small one
        drainSeconds=2,
    )
    words = ["peak", "--plan", str(plan), "--out", str(tmp_path / "peak"), "--target", f"simulator={engine}"]
    words += ["--engine", engine, "--arms", "0,7", "--low", "2", "--high", "4", "--precision", "1"]
    done = loadtest(*words, "--trial-seconds", "4", "--share", "0.7", SPECDEC_CONTROL_TOKEN=TOKEN)
    assert done.returncode in {0, 4}, done.stderr
    (off, seven) = read_peaks(tmp_path / "peak")[1]
    assert off.rate is None
    assert seven.rate is not None
    assert seven.rate >= 2
    browser.install()
    seen = browser.probe(tmp_path / "peak" / "report.html")
    (plot,) = seen["plots"]
    assert {mark["id"] for mark in plot["data"]} == {"data-peak-K0", "data-peak-K7"}
    assert "K0 keeps the targets at no rate" in seen["headline"]
