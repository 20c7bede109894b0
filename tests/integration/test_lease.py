"""Two replicas and one Lease on a real API server: one acts at any time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import datetime

import pytest

from specdec.kube.client import KubeClient
from specdec.kube.kinds import LEASE, Name
from specdec.kube.lease import Election, LeaseTimes
from tests.support.apiserver import ApiServer
from tests.support.patience import PATIENCE_SECONDS

# A lease that is over within seconds, and one that is not while a test runs, however busy the machine.
SHORT = LeaseTimes(duration_seconds=4, renew_seconds=0.2, look_seconds=0.1, attempt_seconds=1, retry_seconds=0.1)
LONG = replace(SHORT, duration_seconds=3600, attempt_seconds=60)


class Replica:
    """One election, run as a task; `acts` says whether it was told to."""

    def __init__(self, client: KubeClient, namespace: str, identity: str, times: LeaseTimes = LONG) -> None:
        self.acts = False
        self.changes: list[bool] = []
        self.election = Election(
            client, Name(namespace, "operator"), identity, lambda: self._tell(True), lambda: self._tell(False), times
        )
        self.task = asyncio.create_task(self.election.run())

    def _tell(self, acts: bool) -> None:
        self.acts = acts
        self.changes.append(acts)

    async def vanish(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@pytest.fixture
async def client(api_server: ApiServer) -> AsyncIterator[KubeClient]:
    async with KubeClient.connect(api_server.kubeconfig) as connected:
        yield connected


@pytest.fixture
def times() -> LeaseTimes:
    return LONG


@pytest.fixture
async def replicas(client: KubeClient, namespace: str, times: LeaseTimes) -> AsyncIterator[list[Replica]]:
    started = [Replica(client, namespace, identity, times) for identity in ("a", "b")]
    yield started
    for replica in started:
        await replica.vanish()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in another process
            await asyncio.sleep(0.01)


async def test_one_of_two_acts(replicas: list[Replica], client: KubeClient, namespace: str) -> None:
    await until(lambda: any(r.acts for r in replicas))
    await until(lambda: all(r.election.holder for r in replicas))
    assert [r.acts for r in replicas].count(True) == 1
    assert [r.election.may_write() for r in replicas] == [r.acts for r in replicas]
    stored = await client.get(LEASE, Name(namespace, "operator"))
    assert stored["spec"]["holderIdentity"] == next(r.election.identity for r in replicas if r.acts)


async def test_a_lease_handed_back_is_taken_at_the_next_look(replicas: list[Replica]) -> None:
    await until(lambda: any(r.acts for r in replicas))
    first, second = sorted(replicas, key=lambda r: not r.acts)
    await first.vanish()
    await first.election.release()
    assert not first.acts
    await until(lambda: second.acts)  # within an hour it can have it by no other way


@pytest.mark.parametrize("times", [SHORT], ids=["short"])
async def test_a_dead_holder_is_followed_only_after_its_time(
    replicas: list[Replica], client: KubeClient, namespace: str
) -> None:
    await until(lambda: any(r.acts for r in replicas))
    first, second = sorted(replicas, key=lambda r: not r.acts)
    await first.vanish()
    left = await client.get(LEASE, Name(namespace, "operator"))
    await until(lambda: second.acts)
    taken = await client.get(LEASE, Name(namespace, "operator"))
    renewed, acquired = (datetime.fromisoformat(at) for at in (left["spec"]["renewTime"], taken["spec"]["acquireTime"]))
    assert (acquired - renewed).total_seconds() >= SHORT.duration_seconds - 0.1  # two clocks of one machine
    assert not first.election.may_write()


async def test_a_holder_without_an_api_server_stops_and_takes_up_again(namespace: str) -> None:
    """That it stops before its time is over is shown with fake time, in tests/unit/kube."""
    with ApiServer() as server:
        server.kubectl("create", "namespace", namespace)
        async with KubeClient.connect(server.kubeconfig) as client:
            replica = Replica(client, namespace, "a", SHORT)
            await until(lambda: replica.acts)
            server.stop_server()
            await until(lambda: not replica.acts)
            assert not replica.election.may_write()
            server.start_server()
            await until(lambda: replica.acts)
            await replica.vanish()
    assert replica.changes == [True, False, True]


async def test_a_stolen_lease_stops_its_holder(client: KubeClient, namespace: str) -> None:
    replica = Replica(client, namespace, "a")
    await until(lambda: replica.acts)
    stored = await client.get(LEASE, Name(namespace, "operator"))
    await client.merge(LEASE, Name(namespace, "operator"), {"spec": {**stored["spec"], "holderIdentity": "thief"}})
    await until(lambda: not replica.acts)
    await replica.vanish()


async def test_a_lease_without_a_spec_is_nobodys(client: KubeClient, namespace: str) -> None:
    await client.create(
        {"apiVersion": LEASE.api_version, "kind": "Lease", "metadata": {"namespace": namespace, "name": "operator"}}
    )
    replica = Replica(client, namespace, "a")
    await until(lambda: replica.acts or replica.task.done())
    assert replica.acts
    await replica.vanish()
