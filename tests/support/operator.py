"""The operator under test: as a process of its own, or in this process without watches, one pass at a time."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from specdec.api.resource import SpeculativeDeployment, parse
from specdec.controllers.loops import Again
from specdec.controllers.process import Operator
from specdec.controllers.settings import Settings
from specdec.controllers.standing import Standing
from specdec.kube.client import KubeClient
from specdec.kube.kinds import WATCHED, Name
from tests.support.fleet import eventually
from tests.support.patience import PATIENCE_SECONDS

OPERATOR_ROOM: Final = Path(__file__).resolve().parents[2] / "operator"
LOG_SHOWN: Final = 8000


@dataclass(slots=True)
class OperatorProcess:
    """A running `specdec run`."""

    process: subprocess.Popen[bytes]
    log: Path
    health_port: int
    metrics_port: int

    def leads(self) -> bool:
        return self.metric("specdec_operator_leading") == 1.0

    def metrics(self, name: str) -> list[tuple[str, float]]:
        """The samples whose name and labels begin with `name`; none before the port is open.

        No others are asked for: a page of a thousand resources would cost the operator more than what is measured.
        """
        query = urlencode({"name[]": name.partition("{")[0]})
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics?{query}", timeout=60) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return []
        rows = (line.rpartition(" ") for line in lines if line.startswith(name))
        return [(sample, float(value)) for sample, _, value in rows]

    def metric(self, name: str) -> float | None:
        """The first of them, None before there is one."""
        return next((value for _, value in self.metrics(name)), None)

    def healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.health_port}/healthz", timeout=60) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        """As a node that loses power."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """As a kubelet stops a pod; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_SECONDS)


@contextmanager
def operator(
    kubeconfig: Path, *arguments: str, leading: bool = True, variables: Mapping[str, str] | None = None
) -> Iterator[OperatorProcess]:
    """A fresh operator process, by default once it leads; killed at the end if it still runs.

    variables: laid over the environment.
    """
    with tempfile.TemporaryDirectory(prefix="operator-") as folder:
        log, (health, metrics) = Path(folder) / "log", _free_ports(2)
        command = [sys.executable, "-m", "specdec.cli.main", "run", f"--kubeconfig={kubeconfig}", *arguments]
        command += [f"--health-port={health}", f"--metrics-port={metrics}"]
        environment = {**os.environ, "PYTHONPATH": str(OPERATOR_ROOM), "PYTHONWARNINGS": "default", **(variables or {})}
        with log.open("wb") as output:
            process = subprocess.Popen(command, stderr=output, stdout=output, env=environment)
        running = OperatorProcess(process, log, health, metrics)
        try:
            if leading:
                _wait_until_leading(running)
            yield running
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            # pytest shows it where the test failed
            sys.stderr.write(log.read_text(errors="replace")[-LOG_SHOWN:])


def _wait_until_leading(running: OperatorProcess) -> None:
    def leads_or_died() -> bool:
        if running.process.poll() is not None:
            raise AssertionError(f"the operator ended with {running.process.returncode}:\n{running.log.read_text()}")
        return running.leads()

    eventually("the operator leads", leads_or_died)


@dataclass(slots=True)
class InProcess:
    """One life of the operator without watches: what it knows is listed, each pass is asked for."""

    operator: Operator
    now: float = field(default_factory=time.time)

    async def look(self) -> None:
        """List everything, as a watch would have shown it."""
        for kind in WATCHED:
            await self.operator.watches.sweep(kind)

    async def one_pass(self, name: Name) -> Again:
        """Look, then work once on `name`."""
        await self.look()
        return await self.operator.reconciler.work(name)

    def resource(self, name: Name) -> SpeculativeDeployment:
        """As the cache has it."""
        stored = self.operator.cache.seen(name).resource
        assert stored is not None
        parsed = parse(stored)
        assert isinstance(parsed, SpeculativeDeployment)
        return parsed

    async def standing(self, name: Name) -> Standing:
        """What is kept in memory of it, from its checkpoint where nothing was."""
        return await self.operator.reconciler._standing(name, self.resource(name), self.operator.cache.seen(name))

    async def settle(self, name: Name, passes: int = 6) -> None:
        """As many passes as a resource needs to come to rest where nothing else moves."""
        for _ in range(passes):
            await self.one_pass(name)


@asynccontextmanager
async def in_process(
    kubeconfig: Path, client: type[KubeClient] = KubeClient, **changes: Any
) -> AsyncIterator[InProcess]:
    """A fresh life; `client` may be one that fails."""
    settings = Settings(
        namespaces=(),
        lease_namespace="default",
        lease_name="in-process",
        identity="in-process",
        leader_election=False,
        health_port=0,
        metrics_port=0,
        kubeconfig=kubeconfig,
        **changes,
    )
    async with AsyncExitStack() as stack:
        made = await Operator.assembled(settings, stack, client)
        life = InProcess(made)
        made.reconciler.now = made.reconciler.tuner.now = lambda: life.now
        yield life
        made.reconciler.forget_all()


def _free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()
