"""Locust's own web UI, master and workers, as `locust -f loadtests/locustfile.py` starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from loadtests.records import RequestRecord, read_rows
from loadtests.stubbed import StubProcess
from tests.loadtests.plans import write_plan
from tests.loadtests.ports import free_port
from tests.loadtests.waiting import wait_for
from tests.support.patience import PATIENCE_SECONDS

REPOSITORY: Final = Path(__file__).resolve().parents[2]
LOCUSTFILE: Final = REPOSITORY / "loadtests" / "locustfile.py"


@contextmanager
def locust(environment: dict[str, str], log: Path, *arguments: str) -> Iterator[None]:
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "MixedUser", "ArrivalUser", *arguments]
    with log.open("w") as file:
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=file, stderr=file, cwd=log.parent)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def page(url: str, **form: str) -> bytes | None:
    """What the web UI answers; None while it does not listen."""
    content = urllib.parse.urlencode(form).encode() if form else None
    try:
        with urllib.request.urlopen(url, content, timeout=10) as answer:
            found: bytes = answer.read()
            return found
    except (urllib.error.URLError, ConnectionError):
        return None


def stats(ui: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(page(f"{ui}/stats/requests") or b"{}")
    return found


def records(folder: Path) -> list[RequestRecord]:
    return [row for file in folder.glob("requests-*.jsonl") for row in read_rows(file, RequestRecord)]


@pytest.mark.parametrize("workers", [0, 2], ids=["one process", "master and two workers"])
def test_a_run_is_started_in_locusts_web_ui(tmp_path: Path, workers: int) -> None:
    phases = (
        {"name": "open", "seconds": 3, "load": {"rate": 6}},
        {"name": "closed", "seconds": 3, "load": {"users": 4}},
    )
    plan, web, bind = write_plan(tmp_path, *phases, drainSeconds=2), free_port(), free_port()
    environment = {
        "SPECDEC_LOADTEST_PLAN": str(plan),
        "SPECDEC_LOADTEST_OUT": str(tmp_path),
        "SPECDEC_LOADTEST_WORKERS": str(workers or 1),
    }
    ui = f"http://127.0.0.1:{web}"
    with ExitStack() as stack:
        stub = stack.enter_context(StubProcess())
        leading = ["--host", stub.url, "--web-port", str(web), "--web-host", "127.0.0.1"]
        if workers:
            leading += ["--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", str(bind)]
        stack.enter_context(locust(environment, tmp_path / "leader.log", *leading))
        for number in range(workers):
            led = ["--worker", "--master-host", "127.0.0.1", "--master-port", str(bind)]
            stack.enter_context(locust(environment, tmp_path / f"worker-{number}.log", *led))
        wait_for(lambda: page(ui) is not None and len(stats(ui).get("workers", [])) >= workers)
        assert b"<title>Locust</title>" in (page(ui) or b"")
        started = json.loads(page(f"{ui}/swarm", host=stub.url) or b"{}")
        assert started["success"], started
        wait_for(lambda: stats(ui).get("state") == "stopped")
        counted = stats(ui)
    rows = records(tmp_path)
    assert {row.phase for row in rows} == {"open", "closed"}
    assert not [row.failure for row in rows if row.failure]
    assert {entry["name"] for entry in counted["stats"]} >= {"chat", "Aggregated"}
    assert next(e["num_requests"] for e in counted["stats"] if e["name"] == "Aggregated") == len(rows)
    sent = [row.key for row in rows if row.phase == "open"]
    assert len(sent) == len(set(sent)), "no request is sent by two workers"
    assert len(list(tmp_path.glob("requests-*.jsonl"))) == (workers or 1)
