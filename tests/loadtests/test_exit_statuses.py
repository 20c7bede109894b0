"""What a build in CI gets to see: the exit status of a run, of a check afterwards, and of a comparison."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests.stubbed import StubProcess
from tests.loadtests.command import loadtest
from tests.loadtests.plans import write_plan

PASSED, HELD, NO_VERDICT = 0, 3, 4
PHASE = {"name": "all", "seconds": 3, "load": {"rate": 8}}
NEVER_LATE, ALWAYS_LATE = 60_000.0, 0.001


@pytest.fixture(scope="module")
def server() -> Iterator[StubProcess]:
    with StubProcess("--ttft-ms", "20", "--step-ms", "10") as stub:
        yield stub


def run(folder: Path, server: StubProcess, late_ms: float, *arguments: str) -> tuple[int, str]:
    plan = write_plan(folder, PHASE, lateMs=late_ms)
    target = ["--target", f"a={server.url}", "--no-report"]
    done = loadtest("run", "--plan", str(plan), "--out", str(folder / "run"), *target, *arguments)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout


def test_a_condition_that_holds_fails_the_run_and_one_that_does_not_passes_it(
    tmp_path: Path, server: StubProcess
) -> None:
    status, said = run(tmp_path, server, NEVER_LATE, "--fail-if", "p95 tpot > 1ms", "--fail-if", "failed > 1%")
    assert status == HELD
    assert "FAIL p95 tpot > 1ms: a: TPOT p95 is" in said
    folder = str(tmp_path / "run")
    assert loadtest("check", folder, "--fail-if", "p95 tpot > 30s").returncode == PASSED
    assert loadtest("check", folder, "--fail-if", "goodput < 50% of other", "--against", folder).returncode == PASSED
    compared = loadtest("compare", folder, folder)
    assert compared.returncode == PASSED
    assert "no interval" in compared.stdout  # three seconds are too short to say anything about chance


def test_a_generator_that_was_the_bottleneck_gives_no_verdict(tmp_path: Path, server: StubProcess) -> None:
    status, said = run(tmp_path, server, ALWAYS_LATE, "--fail-if", "p95 tpot > 1ms")
    assert status == NO_VERDICT
    assert "No verdict" in said
    assert "FAIL" not in said
    folder = str(tmp_path / "run")
    assert loadtest("compare", folder, folder).returncode == NO_VERDICT
