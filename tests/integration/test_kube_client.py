"""The API client against a real API server: what is written, what is refused, and in which words."""

from collections.abc import AsyncIterator

import pytest

from specdec.api.event import Event
from specdec.kube import errors
from specdec.kube.client import FIELD_MANAGER, KubeClient, Manifest
from specdec.kube.events import Recorder
from specdec.kube.kinds import CONFIG_MAP, EVENT, SERVICE, Name
from tests.support.apiserver import ApiServer


@pytest.fixture
async def client(api_server: ApiServer) -> AsyncIterator[KubeClient]:
    async with KubeClient.connect(api_server.kubeconfig) as connected:
        yield connected


def config_map(namespace: str, name: str = "one", **data: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": namespace, "name": name},
        "data": data,
    }


async def test_apply_creates_changes_and_removes_what_it_no_longer_names(client: KubeClient, namespace: str) -> None:
    created = await client.apply(config_map(namespace, a="1", b="2"))
    assert created["metadata"]["managedFields"][0]["manager"] == FIELD_MANAGER
    changed = await client.apply(config_map(namespace, a="3"))
    assert changed["data"] == {"a": "3"}
    assert (await client.apply(config_map(namespace, a="3")))["metadata"]["resourceVersion"] == changed["metadata"][
        "resourceVersion"
    ]


async def test_apply_without_force_leaves_what_is_anothers(
    client: KubeClient, api_server: ApiServer, namespace: str
) -> None:
    api_server.kubectl("-n", namespace, "create", "configmap", "one", "--from-literal=a=theirs")
    with pytest.raises(errors.Conflict, match="conflict with"):
        await client.apply(config_map(namespace, a="ours"), force=False)
    assert (await client.get(CONFIG_MAP, Name(namespace, "one")))["data"] == {"a": "theirs"}


async def test_a_list_comes_in_pages(client: KubeClient, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("specdec.kube.client.PAGE_SIZE", 2)
    for name in ("a", "b", "c"):
        await client.apply(config_map(namespace, name))
    pages = [[item["metadata"]["name"] for item in page.items] async for page in client.pages(CONFIG_MAP, namespace)]
    assert sorted(name for page in pages for name in page) == ["a", "b", "c"]
    assert [len(page) for page in pages] == [2, 1]


async def test_a_deletion_names_its_object_and_may_be_repeated(client: KubeClient, namespace: str) -> None:
    made = await client.apply(config_map(namespace))
    with pytest.raises(errors.Conflict):
        await client.delete(CONFIG_MAP, Name(namespace, "one"), uid="of-an-earlier-one")
    await client.delete(CONFIG_MAP, Name(namespace, "one"), uid=made["metadata"]["uid"])
    await client.delete(CONFIG_MAP, Name(namespace, "one"))
    with pytest.raises(errors.NotFound):
        await client.get(CONFIG_MAP, Name(namespace, "one"))


async def test_a_refused_object_is_told_in_the_servers_words(client: KubeClient, namespace: str) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": namespace, "name": "one"},
        "spec": {"ports": [{"port": 99999}]},
    }
    with pytest.raises(errors.Rejected, match="must be between 1 and 65535"):
        await client.apply(service)
    with pytest.raises(errors.NotFound):
        await client.get(SERVICE, Name(namespace, "one"))


async def test_without_the_lease_nothing_is_sent(client: KubeClient, api_server: ApiServer, namespace: str) -> None:
    client.write_seconds = lambda: 0.0
    with pytest.raises(errors.NotLeading):
        await client.apply(config_map(namespace))
    with pytest.raises(errors.NotFound):
        await client.get(CONFIG_MAP, Name(namespace, "one"))


async def test_an_outage_is_told_as_one() -> None:
    with ApiServer() as server:
        async with KubeClient.connect(server.kubeconfig) as client:
            server.stop_server()
            with pytest.raises(errors.Unavailable):
                await client.get(CONFIG_MAP, Name("default", "one"))


async def test_each_request_is_counted_with_its_verb_and_status(client: KubeClient, namespace: str) -> None:
    seen: list[tuple[str, int]] = []
    client.observer = lambda verb, status, _seconds: seen.append((verb, status))
    await client.apply(config_map(namespace))
    with pytest.raises(errors.NotFound):
        await client.get(CONFIG_MAP, Name(namespace, "none"))
    assert seen == [("apply", 201), ("get", 404)]


async def test_an_event_is_told_once(client: KubeClient, api_server: ApiServer, namespace: str) -> None:
    about = await client.apply(config_map(namespace))
    recorder = Recorder(client, "replica-1")
    told = Event("Normal", "ScheduleChanged", "K is 5 now: " + "x" * 2000)
    for _ in range(3):
        await recorder.post(about, told)
    events = [event async for page in client.pages(EVENT, namespace) for event in page.items]
    assert len(events) == 1
    assert events[0]["reason"] == "ScheduleChanged"
    assert len(events[0]["message"].encode()) == 1024
    described = api_server.kubectl("-n", namespace, "describe", "configmap", "one").stdout
    assert "ScheduleChanged" in described
