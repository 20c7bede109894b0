"""Two targets at once: the same requests, the true difference, and servers that come and go."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from loadtests.generator.job import Progress
from loadtests.plan import load_plan
from loadtests.records import RunFolderError, Target, read_requests
from loadtests.run import Options, TargetError, run
from loadtests.stubbed import StubProcess
from loadtests.summary import summarise
from tests.loadtests.plans import write_plan
from tests.loadtests.waiting import wait_for
from tests.support.patience import PATIENCE_SECONDS

OPEN = {"name": "open", "seconds": 4, "load": {"rate": 6}}
CLOSED = {"name": "closed", "seconds": 3, "load": {"users": 3}}


def tpot(stub: StubProcess) -> float:
    """Time per output token of what it really wrote, however busy the machine."""
    stamps = stub.stamps()
    seconds: float = sum(each["last"] - each["first"] for each in stamps)
    tokens: int = sum(each["tokens"] - 1 for each in stamps)
    return seconds / tokens


def test_twins_meet_the_same_requests_and_their_difference_is_found(tmp_path: Path) -> None:
    with StubProcess("--step-ms", "30") as fast, StubProcess("--step-ms", "40") as slow:
        targets = [Target("fast", fast.url), Target("slow", slow.url)]
        run(load_plan(write_plan(tmp_path, OPEN, CLOSED)), targets, tmp_path / "run", Options(baseline="slow"))
        truth = 100 * (1 - tpot(fast) / tpot(slow))
    keys = [{r.key for r in read_requests(tmp_path / "run", name) if r.phase == "open"} for name in ("fast", "slow")]
    assert keys[0] == keys[1]
    assert len(keys[0]) > 10
    found = summarise(tmp_path / "run")
    assert found.targets["fast"].overall.failures == 0
    gain = found.gains["fast"]["overall"]
    assert gain is not None
    assert gain.value == pytest.approx(truth, abs=2)


def test_a_server_that_restarts_costs_failures_not_the_run(tmp_path: Path) -> None:
    plan = load_plan(write_plan(tmp_path, {"name": "all", "seconds": 8, "load": {"rate": 8}}))
    with StubProcess() as first:
        port = str(urlsplit(first.url).port)
        again: list[StubProcess] = []

        def restart(_target: str, progress: Progress) -> None:
            if progress.t > 2 and not again:
                first.kill()
                again.append(StubProcess("--port", port))
            elif progress.t > 4 and again and not again[0].url:
                again[0].__enter__()

        try:
            run(plan, [Target("a", first.url)], tmp_path / "run", on_progress=restart)
        finally:
            for stub in again:
                stub.__exit__(None, None, None)
    records = read_requests(tmp_path / "run", "a")
    assert {r.failure for r in records} <= {None, "connectionRefused", "closedMidStream"}
    assert any(r.failure == "connectionRefused" for r in records)
    assert all(r.failure is None for r in records if r.at < 1 or r.at > 7)


def interrupt_after(seconds: float, command: list[str]) -> "subprocess.CompletedProcess[str]":
    # A shell starts its background jobs deaf to SIGINT, and children inherit that.
    heeding = ["env", "--default-signal=INT", *command]
    process = subprocess.Popen(heeding, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    folder = Path(command[command.index("--out") + 1])
    wait_for((folder / "run.json").exists)
    time.sleep(seconds)  # the moment of the interruption is the test's subject
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=PATIENCE_SECONDS)
    return subprocess.CompletedProcess(command, process.returncode, out, error)


def generators_of(folder: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_text()
        except OSError:
            continue
        if "loadtests.generator" in command and str(folder) in command:
            found.append(command)
    return found


def test_an_interrupted_run_keeps_what_it_has_and_leaves_nothing_behind(tmp_path: Path) -> None:
    plan = write_plan(tmp_path, {"name": "long", "seconds": 60, "load": {"rate": 10}})
    out = tmp_path / "run"
    with StubProcess() as stub:
        command = [sys.executable, "-m", "specdec.cli.main", "loadtest", "run", "--plan", str(plan)]
        done = interrupt_after(3.0, [*command, "--out", str(out), "--target", f"a={stub.url}"])
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert summarise(out).info.interrupted
    assert len(read_requests(out, "a")) > 5
    assert (out / "report.html").exists()
    assert not generators_of(tmp_path)


def test_a_generator_does_not_outlive_its_starter(tmp_path: Path) -> None:
    plan = write_plan(tmp_path, {"name": "long", "seconds": 60, "load": {"rate": 10}})
    out = tmp_path / "run"
    with StubProcess() as stub:
        command = [sys.executable, "-m", "specdec.cli.main", "loadtest", "run", "--plan", str(plan)]
        process = subprocess.Popen(
            [*command, "--out", str(out), "--target", f"a={stub.url}"], stdout=subprocess.DEVNULL
        )
        wait_for((out / "run.json").exists)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        wait_for(lambda: not generators_of(tmp_path))


def test_nothing_starts_towards_a_target_that_is_not_there(tmp_path: Path) -> None:
    plan = load_plan(write_plan(tmp_path, OPEN))
    with pytest.raises(TargetError, match="nothing listens there"):
        run(plan, [Target("a", "http://127.0.0.1:9")], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_used_folder_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "requests-a.jsonl").write_text("")
    with pytest.raises(RunFolderError, match="already holds a run"):
        run(load_plan(write_plan(tmp_path, OPEN)), [Target("a", "http://127.0.0.1:9")], tmp_path)
