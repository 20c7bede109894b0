"""Whatever a server does wrong is counted by kind, explained once, and ends in a clear exit status."""

from pathlib import Path

import pytest

from loadtests.failures import REMEDY, Kind
from loadtests.plan import load_plan
from loadtests.records import Target, read_requests
from loadtests.run import Options, TargetError, run
from loadtests.stubbed import StubProcess
from tests.loadtests.command import loadtest
from tests.loadtests.plans import write_plan

EVERY_WAY = {
    Kind.UNAUTHORIZED,
    Kind.NOT_FOUND,
    Kind.SERVER_ERROR,
    Kind.CLOSED,
    Kind.STREAM_ERROR,
    Kind.NOT_OPENAI,
    Kind.NO_USAGE,
    Kind.TIMEOUT,
}


def test_every_kind_of_failure_is_counted_and_explained_once(tmp_path: Path) -> None:
    plan = write_plan(tmp_path, {"name": "all", "seconds": 4, "load": {"rate": 10}}, timeoutSeconds=1.5)
    with StubProcess("--step-ms", "5", "--fault", "each") as stub:
        done = loadtest(
            "run", "--plan", str(plan), "--out", str(tmp_path / "run"), "--target", f"a={stub.url}", "--no-report"
        )
    assert done.returncode == 0, done.stderr
    seen = {record.failure for record in read_requests(tmp_path / "run", "a")}
    assert seen == {None, *map(str, EVERY_WAY)}
    told = " ".join(done.stdout.split())
    assert all(told.count(REMEDY[kind]) == 1 for kind in EVERY_WAY)
    assert "Traceback" not in done.stdout + done.stderr


def test_unreachable_targets_are_counted_by_cause(tmp_path: Path) -> None:
    with StubProcess() as stub:
        targets = [
            Target("port", "http://127.0.0.1:9"),
            Target("name", "http://no-such-host.invalid:80"),
            Target("tls", stub.url.replace("http:", "https:")),
        ]
        plan = load_plan(write_plan(tmp_path, {"name": "all", "seconds": 2, "load": {"users": 2}}, model="stub"))
        run(plan, targets, tmp_path / "run", Options(preflight=False))
    seen = {t.name: {r.failure for r in read_requests(tmp_path / "run", t.name)} for t in targets}
    assert seen == {"port": {"connectionRefused"}, "name": {"nameNotFound"}, "tls": {"tls"}}


def test_a_run_in_which_all_failed_says_so_by_its_status(tmp_path: Path) -> None:
    plan = write_plan(tmp_path, {"name": "all", "seconds": 1, "load": {"rate": 5}})
    with StubProcess("--fault", "500") as stub:
        done = loadtest(
            "run", "--plan", str(plan), "--out", str(tmp_path / "run"), "--target", f"a={stub.url}", "--no-report"
        )
    assert done.returncode == 5, done.stderr


def test_a_model_that_is_not_served_is_named_before_any_load(tmp_path: Path) -> None:
    plan = load_plan(write_plan(tmp_path, {"name": "all", "seconds": 1, "load": {"rate": 5}}, model="gpt-9"))
    with StubProcess() as stub, pytest.raises(TargetError, match="lists stub"):
        run(plan, [Target("a", stub.url)], tmp_path / "run")


@pytest.mark.parametrize(
    ("fault", "said"),
    [("locked", "wants another API key"), ("website", "is not an OpenAI model list")],
)
def test_a_server_that_is_not_what_was_meant_is_refused_before_any_load(tmp_path: Path, fault: str, said: str) -> None:
    plan = write_plan(tmp_path, {"name": "all", "seconds": 1, "load": {"rate": 5}})
    with StubProcess("--fault", fault) as stub:
        done = loadtest("run", "--plan", str(plan), "--out", str(tmp_path / "run"), "--target", f"a={stub.url}")
    assert done.returncode == 1
    assert said in done.stderr
    assert "Remedy" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--target", "http://x"], "NAME=URL"),
        (["--target", "a=ftp://x"], "must begin with http"),
        (["--target", "a=http://[::1"], "is not a URL"),
        (["--target", "a=http://x:99999"], "is not a URL"),
        (["--target", "a=http://x", "--ca-file", "/nowhere.pem"], "--ca-file /nowhere.pem"),
        (["--target", "a=http://x", "--watch", "b=c"], "which is no --target"),
        (["--target", "a=http://x", "--fail-if", "speed > 1"], "Metrics"),
        (["--target", "a=http://x", "--metrics", "b=http://y"], "no --target"),
        (["--target", "a=http://x", "--api-key-env", "NO_SUCH_VARIABLE"], "NO_SUCH_VARIABLE"),
    ],
)
def test_wrong_arguments_are_explained(tmp_path: Path, arguments: list[str], said: str) -> None:
    plan = write_plan(tmp_path, {"name": "all", "seconds": 1, "load": {"rate": 5}})
    done = loadtest("run", "--plan", str(plan), "--out", str(tmp_path / "run"), *arguments)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
