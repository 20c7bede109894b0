"""Start and stop real vLLM servers, forked in seconds from one process that has everything imported."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx

from tests.engine.environment import RIG, EngineEnvironment, write_entry_points

SERVED_NAME: Final = "model"
CONTROL_TOKEN: Final = "token-of-the-engine-tests"
START_SECONDS: Final = 240.0
STOP_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.05
# In bfloat16 a CPU may round otherwise with the number of tokens in a step, and AMX makes many tokens nearly free.
FLOAT32: Final = ("--dtype", "float32")
HIGH_ACCEPTANCE: Final = (0.8, 0.62, 0.47, 0.35, 0.25, 0.17, 0.11)
LOW_ACCEPTANCE: Final = (0.5, 0.25, 0.12, 0.06, 0.03, 0.015, 0.008)


class EngineDied(RuntimeError):
    """The server ended before it was asked to; the message carries the end of its log."""


def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for `condition`, no longer than `seconds`. Raises TimeoutError naming `what`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(POLL_SECONDS)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """What to serve. speculation: the --speculative-config, None for none; environment: on top of the rig's."""

    target: Path
    speculation: Mapping[str, Any] | None
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    max_num_seqs: int = 16

    def argv(self, port: int) -> list[str]:
        speculation = [] if self.speculation is None else ["--speculative-config", json.dumps(dict(self.speculation))]
        return [
            "serve", str(self.target), "--served-model-name", SERVED_NAME, "--host", "127.0.0.1", "--port", str(port),
            "--max-model-len", "2048", "--max-num-seqs", str(self.max_num_seqs), "--dtype", "bfloat16",
            "--enforce-eager", "--kv-cache-memory-bytes", "67108864", *speculation, *self.arguments,
        ]  # fmt: skip


def dflash(
    drafter: Path, *, max_num_seqs: int = 16, rates: Sequence[float] | None = None, **more: Any
) -> dict[str, Any]:
    """A --speculative-config with K up to 7, changeable live. rates: synthetic acceptance; None for the real one."""
    synthetic = (
        {} if rates is None else {"rejection_sample_method": "synthetic", "synthetic_acceptance_rates": list(rates)}
    )
    start = {"num_speculative_tokens": 7, "num_speculative_tokens_per_batch_size": [[1, max_num_seqs, 7]]}
    return {"method": "dflash", "model": str(drafter)} | start | synthetic | more


class Server:
    """One running engine."""

    def __init__(self, pid: int, port: int, log: Path, token_file: Path) -> None:
        self.pid, self.log, self.token_file = pid, log, token_file
        self.url = f"http://127.0.0.1:{port}"
        self.http = httpx.Client(base_url=self.url, timeout=240.0)

    @property
    def alive(self) -> bool:
        """A process that has ended is not, although its parent has not waited for it yet."""
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return False
        return _fields(stat)[0] != "Z"

    def wait_until_ready(self) -> Self:
        until(self.ready, START_SECONDS, f"{self.url}/health")
        return self

    def ready(self) -> bool:
        if not self.alive:
            raise EngineDied(f"the engine ended while it started:\n{self.tail()}")
        try:
            return self.http.get("/health").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def control(self, token: str | None = None) -> dict[str, str]:
        return {"X-Speculation-Authorization": f"Bearer {token or self.token_file.read_text().strip()}"}

    def engine_cpu_seconds(self) -> float:
        """CPU time that the engine core has taken."""
        return sum((int(f[11]) + int(f[12])) / os.sysconf("SC_CLK_TCK") for f in self._children().values())

    @contextlib.contextmanager
    def hung(self) -> Iterator[None]:
        """The engine core stands still; the API server goes on."""
        children = list(self._children())
        for pid in children:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in children:
                os.kill(pid, signal.SIGCONT)

    def _children(self) -> dict[int, list[str]]:
        """Fields of /proc/PID/stat by pid: the server leads a process group, its children are in it."""
        found = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = _fields(stat.read_text())
                if int(fields[2]) == self.pid and int(stat.parent.name) != self.pid:
                    found[int(stat.parent.name)] = fields
        return found

    def running(self) -> float:
        """Requests under way."""
        lines = self.http.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("vllm:num_requests_running{"))

    def speculation(self) -> dict[str, Any]:
        answer = self.http.get("/v1/speculation", headers=self.control())
        answer.raise_for_status()
        return dict(answer.json())

    def put(self, body: Mapping[str, Any]) -> httpx.Response:
        return self.http.put("/v1/speculation/schedule", headers=self.control(), json=dict(body))

    def set_schedule(self, *tiers: tuple[int, int, int]) -> int:
        """Put (from, to, K) tiers in force as the next revision; none switches speculation off."""
        revision = int(self.speculation()["schedule"]["revision"]) + 1
        names = ("fromBatch", "toBatch", "numSpeculativeTokens")
        entries = [dict(zip(names, tier, strict=True)) for tier in tiers]
        answer = self.put({"revision": revision, "off": not tiers, "entries": entries})
        assert answer.status_code == httpx.codes.OK, answer.text
        return revision

    def set_k(self, k: int) -> int:
        return self.set_schedule(*([(1, self.speculation()["limits"]["maxBatch"], k)] if k else []))

    def set_acceptance(self, rates: Sequence[float]) -> None:
        self.http.put("/rig/acceptance", json={"rates": list(rates)}).raise_for_status()

    def complete(self, prompt: Sequence[int] | str, max_tokens: int = 32, **more: Any) -> dict[str, Any]:
        """One completion, greedy unless told otherwise."""
        body = {
            "model": SERVED_NAME,
            "prompt": prompt,
            "max_tokens": max_tokens,
            "temperature": 0,
            "ignore_eos": True,
        } | more
        answer = self.http.post("/v1/completions", json=body)
        answer.raise_for_status()
        return dict(answer.json())

    def stop(self) -> None:
        """TERM, then KILL what is left of its process group."""
        self.http.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            until(lambda: not self.alive, STOP_SECONDS, "the engine's end")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


def _fields(stat: str) -> list[str]:
    """After the name, which may hold anything: state, parent, group, ..., ticks in user and kernel mode."""
    return stat.rpartition(")")[2].split()


class Zygote:
    """The process that all servers are forked from. Close it at the end."""

    def __init__(self, environment: EngineEnvironment, folder: Path, extra: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._token_file = folder / "control-token"
        self._token_file.write_text(CONTROL_TOKEN)
        write_entry_points(folder)
        variables = environment.variables(folder) | dict(extra or {})
        variables["SPECDEC_CONTROL_TOKEN_FILE"] = str(self._token_file)
        self._log = (folder / "zygote.log").open("wb")
        self._process = subprocess.Popen(
            [environment.python, RIG / "zygote.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
            env=variables,
        )  # fmt: skip
        try:
            self._answer("ready")
        except EngineDied:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def serve(self, spec: ServerSpec, name: str) -> Iterator[Server]:
        """A ready server; stopped at the end."""
        server = self.start(spec, name)
        try:
            yield server.wait_until_ready()
        finally:
            server.stop()

    def start(self, spec: ServerSpec, name: str) -> Server:
        """A server that may not be ready, and may never be."""
        port = free_port()
        token_file = self._folder / f"{name}.token"
        token_file.write_text(CONTROL_TOKEN)
        environment = {"SPECDEC_CONTROL_TOKEN_FILE": str(token_file)} | dict(spec.environment)
        log = self._folder / f"{name}.log"
        request = {"argv": spec.argv(port), "env": environment, "log": str(log)}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        return Server(self._answer("pid"), port, log, token_file)

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.terminate()
        self._process.wait(STOP_SECONDS)
        self._log.close()

    def _answer(self, name: str) -> int:
        """The next line that carries `name`; what vLLM prints in between is no answer."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            readable, _, _ = select.select([self._process.stdout], [], [], 1.0)
            line = self._process.stdout.readline() if readable else b""
            if line.startswith(b"{") and name in (answer := json.loads(line)):
                return int(answer[name])
            if self._process.poll() is not None:
                break
        log = Path(self._log.name).read_text(errors="replace")[-2000:]
        raise EngineDied(f"the pre-forked process gave no answer:\n{log}")
