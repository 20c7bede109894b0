"""The processes that the tests on real vLLM start: one that ends is noticed at once."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.engine.gpu import served
from tests.engine.servers import EngineDied, Server


def test_a_server_that_ended_is_not_alive_although_nobody_waited_for_it(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not Server(process.pid, 1, tmp_path, tmp_path).alive


@pytest.mark.timeout(20)
def test_an_engine_that_ends_while_it_starts_fails_the_gpu_test_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vllm, log = tmp_path / "vllm", tmp_path / "gpu.log"
    vllm.write_text("#!/bin/sh\necho no GPU here\nexit 1\n")
    vllm.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(EngineDied, match="no GPU here"), served(tmp_path, log):
        pass
    assert log.read_text() == "no GPU here\n"
