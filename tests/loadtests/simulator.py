"""The simulated engine as a process of this machine, with its live endpoint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from loadtests.preflight import Access, served_model
from tests.loadtests.ports import free_port
from tests.support.patience import PATIENCE_SECONDS

TOKEN: Final = "of-this-test"
MODEL: Final = "deepseek-v4-flash"
SPECULATION: Final = {
    "model": "RedHatAI/DeepSeek-V4-Flash-speculator.dflash",
    "num_speculative_tokens": 7,
    "method": "dflash",
    "num_speculative_tokens_per_batch_size": [[1, 256, 7]],
}


@contextmanager
def simulator(folder: Path) -> Iterator[str]:
    """Its URL, once it listens."""
    token, port = folder / "token", free_port()
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
        served_model(url, MODEL, Access(), wait_seconds=PATIENCE_SECONDS)
        yield url
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def schedule(url: str) -> list[dict[str, Any]]:
    """The entries in force."""
    request = urllib.request.Request(f"{url}/v1/speculation", headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: list[dict[str, Any]] = json.load(answer)["schedule"]["entries"]
    return found
