"""Simulated engines as processes on loopback.

    with simulators(2, settings={"SEED": "7"}) as (one, other):
        target = one.target("pod-0")

They start at once (some 0.4 s for the first) and are gone at the end, whatever they were told to do.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from specdec.engine.target import Target
from tests.support.patience import PATIENCE_SECONDS

MODEL: Final = "deepseek-ai/DeepSeek-V4-Flash"
SERVED_NAME: Final = "deepseek-v4-flash"
_REPOSITORY: Final = Path(__file__).resolve().parents[2]


def speculative_config(num_speculative_tokens: int = 7, **more: Any) -> str:
    """The model card's, as `--speculative-config` wants it."""
    drafter = "RedHatAI/DeepSeek-V4-Flash-speculator.dflash"
    card = {"model": drafter, "num_speculative_tokens": num_speculative_tokens, "method": "dflash"}
    return json.dumps(card | more)


# Without a schedule at the start K cannot be changed live.
LIVE: Final = speculative_config(num_speculative_tokens_per_batch_size=[[1, 256, 7]])


@dataclass(slots=True)
class SimulatedEngine:
    """A running simulator. token: opens its live endpoint; api_key: as given."""

    url: str
    token: str
    api_key: str | None
    process: subprocess.Popen[bytes]
    log: Path
    model: str = SERVED_NAME

    def target(self, pod: str = "pod-0", incarnation: str = "1") -> Target:
        """For `specdec.engine`."""
        return Target(pod, incarnation, self.url, control_token=self.token, api_key=self.api_key)

    def fault(self, **faults: Any) -> None:
        """Break something, as images/simulator/README.md lists; needs `settings={"FAULTS": "1"}`."""
        self._send("PUT", json.dumps(faults).encode())

    def faults(self) -> dict[str, Any]:
        """What is broken at the moment."""
        with urllib.request.urlopen(f"{self.url}/test/faults", timeout=60) as answer:
            return dict(json.load(answer))

    def heal(self) -> None:
        """End all faults."""
        self._send("DELETE", None)

    def terminate(self) -> None:
        """Ask it to drain and end."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Its exit code."""
        return self.process.wait(seconds)

    def healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=1) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _send(self, method: str, body: bytes | None) -> None:
        request = urllib.request.Request(f"{self.url}/test/faults", data=body, method=method)
        with urllib.request.urlopen(request, timeout=60):
            pass


@contextmanager
def simulators(
    count: int = 1,
    *,
    arguments: Sequence[str] = (),
    settings: Mapping[str, str] | None = None,
    speculation: str | None = None,
    api_key: str | None = None,
    wait: bool = True,
) -> Iterator[tuple[SimulatedEngine, ...]]:
    """`count` simulators that answer /health, all alike.

    arguments: more of the command line. settings: SPECDEC_SIM_* without the prefix. speculation: its
    `--speculative-config`, by default the model card's with a schedule, "" for none. wait: until the port is open.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="simulators-")))
        engines = []
        for number in range(count):
            token = secrets.token_urlsafe(24)
            (folder / f"token-{number}").write_text(token)
            command = _command(port := _free_port(), arguments, speculation, api_key)
            log = folder / f"log-{number}"
            process = _start(command, folder / f"token-{number}", settings or {}, log)
            stack.callback(_stop, process)
            engines.append(SimulatedEngine(f"http://127.0.0.1:{port}", token, api_key, process, log))
        if wait:
            for engine in engines:
                wait_until_healthy(engine)
        yield tuple(engines)


def wait_until_healthy(engine: SimulatedEngine, seconds: float = PATIENCE_SECONDS) -> None:
    """Raises AssertionError with its log when it ends or does not answer in time."""
    deadline = time.monotonic() + seconds
    while not engine.healthy():
        if engine.process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"the simulator did not start:\n{engine.log.read_text()}")
        time.sleep(0.02)


def _command(port: int, arguments: Sequence[str], speculation: str | None, api_key: str | None) -> list[str]:
    command = [sys.executable, "-m", "specdec_simulator", "serve", MODEL, "--served-model-name", SERVED_NAME]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    config = LIVE if speculation is None else speculation
    command += ["--speculative-config", config] if config else []
    command += ["--api-key", api_key] if api_key else []
    given = set(arguments)
    if "--max-num-seqs" not in given:
        command += ["--max-num-seqs", "256"]
    if "--max-cudagraph-capture-size" not in given:
        command += ["--max-cudagraph-capture-size", "2048"]
    return [*command, *arguments]


def _start(command: Sequence[str], token: Path, settings: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SPECDEC_")}
    environment = inherited | {f"SPECDEC_SIM_{name}": value for name, value in settings.items()}
    environment |= {"SPECDEC_CONTROL_TOKEN_FILE": str(token), "PYTHONPATH": str(_REPOSITORY / "images" / "simulator")}
    with log.open("wb") as output:
        return subprocess.Popen(command, env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait(PATIENCE_SECONDS)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
