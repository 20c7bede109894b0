"""What make asks the machine before any target runs."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_a_container_engine_that_hangs_delays_make_by_seconds_only(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    for program in ("timeout", "docker"):
        (tmp_path / program).write_text(f'#!/bin/sh\necho "{program} $@" >> {asked}\nexit 1\n')
        (tmp_path / program).chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name not in {"CLUSTER", "MAKEFLAGS"}}
    environment["PATH"] = f"{tmp_path}:{environment['PATH']}"
    subprocess.run(["make", "-s", "help"], cwd=ROOT, env=environment, check=True, capture_output=True)
    assert asked.read_text().splitlines() == ["timeout 10 docker info"]
