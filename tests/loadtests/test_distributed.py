"""A master and two workers send what one process would send, each request once."""

import subprocess
import sys
from pathlib import Path

from loadtests.plan import load_plan
from loadtests.records import Target, read_generator, read_requests
from loadtests.run import Options, run
from loadtests.sequence import open_loop
from loadtests.stubbed import StubProcess
from loadtests.summary import summarise
from tests.loadtests.plans import write_plan
from tests.loadtests.ports import free_port
from tests.support.patience import PATIENCE_SECONDS


def test_workers_share_the_plan(tmp_path: Path) -> None:
    phases = (
        {"name": "open", "seconds": 4, "load": {"rate": 8}},
        {"name": "closed", "seconds": 3, "load": {"users": 4}},
    )
    plan, port = load_plan(write_plan(tmp_path, *phases)), free_port()
    command = [sys.executable, "-m", "specdec.cli.main", "loadtest", "worker", "--master", "127.0.0.1"]
    workers = [subprocess.Popen([*command, "--port", str(port)]) for _ in range(2)]
    try:
        with StubProcess() as stub:
            options = Options(expect_workers=2, bind_port=port)
            run(plan, [Target("a", stub.url)], tmp_path / "run", options)
        assert [worker.wait(PATIENCE_SECONDS) for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    records = read_requests(tmp_path / "run", "a")
    assert not [record for record in records if record.failure]
    sent = [record.key for record in records if record.phase == "open"]
    assert sorted(sent) == sorted(request.key for request in open_loop(plan))
    users = {record.key.split("-")[1] for record in records if record.phase == "closed"}
    assert users == {"u0", "u1", "u2", "u3"}
    report = read_generator(tmp_path / "run", "a")
    assert report is not None
    assert report.sends == len(sent)
    assert summarise(tmp_path / "run").targets["a"].overall.requests == len(records)
