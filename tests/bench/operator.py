"""`make bench-operator`: memory, idle cost, apply to child one by one and OBJECTS=1000 at once, restart.

On the cluster of $KUBECONFIG, else on an API server of its own, without nodes and without other controllers. The
operator runs as a process of its own on this machine, from byte code and with the variables of its image. The
reference is another operator on another run: compare orders of magnitude only, ratios need both in one run.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from specdec.kube.client import KubeClient
from specdec.kube.kinds import DEPLOYMENT, RESOURCE, Name
from tests.bench.figures import Figure, publish
from tests.integration.conftest import CRD
from tests.support.apiserver import ApiServer
from tests.support.fleet import eventually
from tests.support.operator import OperatorProcess, operator
from tests.support.resource import stored

NAMESPACE: Final = "default"
SINGLES: Final = 60
IDLE_SECONDS: Final = 20.0
CREATORS: Final = 16
LIMIT_SECONDS: Final = 600.0
REFERENCE: Final = "LeaderWorkerSet 0.9.0, measured elsewhere"
MIB: Final = 1024 * 1024
ALL_MODULES: Final = "from specdec.cli.main import parser; from specdec.controllers import logs, process; parser()"


@dataclass(slots=True)
class Arrivals:
    """When each Deployment was first shown by a watch, on the loop's clock."""

    at: dict[str, float] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self, names: list[str]) -> None:
        async with asyncio.timeout(LIMIT_SECONDS):
            while not self.at.keys() >= set(names):
                self.news.clear()
                await self.news.wait()


def main() -> int:
    count = int(os.environ.get("OBJECTS") or 1000)
    with cluster() as kubeconfig, as_shipped() as variables:
        figures = asyncio.run(measured(kubeconfig, count, variables))
    publish("operator", figures)
    return 0


@contextmanager
def cluster() -> Iterator[Path]:
    """A kubeconfig whose cluster knows the resource."""
    if given := os.environ.get("KUBECONFIG"):
        yield Path(given)
        return
    with ApiServer(garbage_collection=True) as server:
        server.kubectl("apply", "--server-side", "-f", str(CRD))
        server.kubectl("wait", "--for=condition=Established", "--timeout=120s", "-f", str(CRD))
        yield server.kubeconfig


@contextmanager
def as_shipped() -> Iterator[Mapping[str, str]]:
    """The variables of the operator's image, and its byte code: to compile at each start takes seconds and memory."""
    with tempfile.TemporaryDirectory(prefix="byte-code-") as folder:
        variables = {"OPENBLAS_NUM_THREADS": "1", "PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": ""}
        subprocess.run([sys.executable, "-c", ALL_MODULES], env={**os.environ, **variables}, check=True)
        yield variables


async def measured(kubeconfig: Path, count: int, variables: Mapping[str, str]) -> list[Figure]:
    async with KubeClient.connect(kubeconfig) as client, arrivals(client) as seen:
        with operator(kubeconfig, variables=variables) as process:
            empty = memory(process)
            say(f"creating {count} at once")
            many = [f"bench-{number}" for number in range(count)]
            figures = await at_once(client, seen, process, many)
            full = memory(process)
            figures += await idle(process, count)
            say(f"{SINGLES} one by one")
            figures += await one_by_one(client, seen, count)
            await asyncio.to_thread(quiet, process)
            assert process.stop() == 0
        say("restart")
        figures += await restarted(kubeconfig, count + SINGLES, variables)
        for name in [*many, *(f"single-{number}" for number in range(SINGLES))]:
            await client.delete(RESOURCE, Name(NAMESPACE, name))
    return [
        Figure("memory, 0 objects", empty, "MiB", 48, REFERENCE),
        Figure(f"memory, {count} objects", full, "MiB", 136, f"{REFERENCE}, 1,000 objects"),
        *figures,
    ]


async def at_once(client: KubeClient, seen: Arrivals, process: OperatorProcess, names: list[str]) -> list[Figure]:
    cpu, writes, began = cpu_seconds(process), sum_of_writes(process), clock()
    await create(client, names)
    created = clock()
    await seen.wait(names)
    last = max(seen.at[name] for name in names)
    await asyncio.to_thread(quiet, process)
    spent, written = cpu_seconds(process) - cpu, sum_of_writes(process) - writes
    return [
        Figure(f"{len(names)} at once: client done", created - began, "s", 3.5, REFERENCE),
        Figure(f"{len(names)} at once: last child exists", last - began, "s", 56.8, f"{REFERENCE}, 1,000 objects"),
        Figure("own CPU per object until quiet", 1000 * spent / len(names), "ms", 24, REFERENCE),
        Figure("writes per object until quiet", written / len(names), "", 11, REFERENCE),
    ]


async def idle(process: OperatorProcess, count: int) -> list[Figure]:
    cpu, requests = cpu_seconds(process), requests_of(process, "")
    await asyncio.sleep(IDLE_SECONDS)
    spent, asked = cpu_seconds(process) - cpu, requests_of(process, "") - requests
    return [
        Figure(f"CPU idle with {count} objects", 1000 * spent / IDLE_SECONDS, "millicores", 1.4, REFERENCE),
        Figure("requests to the API server while idle", asked / IDLE_SECONDS, "1/s", 0.5, REFERENCE),
    ]


async def one_by_one(client: KubeClient, seen: Arrivals, beside: int) -> list[Figure]:
    waits = []
    for number in range(SINGLES):
        name = f"single-{number}"
        await create(client, [name])
        answered = clock()
        await seen.wait([name])
        waits.append(1000 * max(seen.at[name] - answered, 0.0))
    waits.sort()
    return [
        Figure(f"one beside {beside}: created to child, p50", statistics.median(waits), "ms", 11, REFERENCE),
        Figure(f"one beside {beside}: created to child, p99", waits[int(0.99 * len(waits))], "ms", 27, REFERENCE),
    ]


async def restarted(kubeconfig: Path, count: int, variables: Mapping[str, str]) -> list[Figure]:
    began = clock()
    with operator(kubeconfig, leading=False, variables=variables) as process:
        await asyncio.to_thread(
            eventually, "every resource was looked at", lambda: passes(process) >= count, LIMIT_SECONDS
        )
        took = clock() - began
        await asyncio.to_thread(quiet, process)
        applied = requests_of(process, 'verb="apply"')
    return [
        Figure(f"restart with {count} objects, with Lease: resynced", took, "s", 27.8, f"{REFERENCE}, 1,000 objects"),
        Figure("restart: writes to objects", applied, ""),
    ]


async def create(client: KubeClient, names: list[str]) -> None:
    left = iter(names)

    async def creator() -> None:
        for name in left:
            body = stored(name)
            body["metadata"] = {"name": name, "namespace": NAMESPACE}
            await client.create(body)

    await asyncio.gather(*(creator() for _ in range(CREATORS)))


@asynccontextmanager
async def arrivals(client: KubeClient) -> AsyncIterator[Arrivals]:
    """Watches Deployments beside the operator."""
    seen = Arrivals()
    task = asyncio.create_task(_watch(client, seen))
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _watch(client: KubeClient, seen: Arrivals) -> None:
    headers: dict[str, str] = {}
    path = DEPLOYMENT.path(NAMESPACE)
    await client.api.update_params_for_auth(headers, [], ["BearerToken"], path, "GET", None)
    url = f"{client.api.configuration.host}{path}?watch=true"
    answer = await client.api.rest_client.request("GET", url, headers=headers, _request_timeout=LIMIT_SECONDS * 3)
    async for line in answer.response.content:
        event: dict[str, Any] = json.loads(line)
        seen.at.setdefault(event["object"]["metadata"]["name"], clock())
        seen.news.set()


def quiet(process: OperatorProcess) -> None:
    """Wait until the operator has asked nothing but its Lease for some seconds."""
    counts: list[float] = []

    def ceased() -> bool:
        counts.append(sum_of_writes(process))
        time.sleep(0.4)
        return len(counts) > 8 and counts[-1] == counts[-8]

    eventually("the operator has come to rest", ceased, LIMIT_SECONDS)


def sum_of_writes(process: OperatorProcess) -> float:
    return sum(requests_of(process, f'verb="{verb}"') for verb in ("apply", "create", "delete"))


def requests_of(process: OperatorProcess, labels: str) -> float:
    return sum(value for name, value in process.metrics("specdec_operator_api_requests_total") if labels in name)


def passes(process: OperatorProcess) -> float:
    return process.metric("specdec_operator_reconcile_seconds_count") or 0.0


def memory(process: OperatorProcess) -> float:
    """Resident memory, MiB."""
    pages = int(Path(f"/proc/{process.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def cpu_seconds(process: OperatorProcess) -> float:
    fields = Path(f"/proc/{process.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def clock() -> float:
    return time.monotonic()


def say(text: str) -> None:
    print(f"==> {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
