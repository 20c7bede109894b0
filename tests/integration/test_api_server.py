"""The API server that the other integration tests stand on behaves like one."""

import json

from tests.support.apiserver import ApiServer


def _config_map(name: str, value: str) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": value}})


def test_objects_are_stored_and_every_write_is_audited(api_server: ApiServer, namespace: str) -> None:
    before = len(api_server.writes("test-admin"))
    api_server.kubectl("-n", namespace, "create", "-f", "-", stdin=_config_map("one", "1"))
    api_server.kubectl("-n", namespace, "get", "configmap", "one")
    api_server.kubectl("-n", namespace, "delete", "configmap", "one")
    events = api_server.writes("test-admin")[before:]
    assert [event["verb"] for event in events] == ["create", "delete"]
    assert {event["objectRef"]["name"] for event in events} == {"one"}


def test_a_user_without_a_role_is_refused() -> None:
    with ApiServer(users={"nobody": ("visitors",)}) as api:
        refused = api.kubectl("get", "secrets", check=False, user="nobody")
        assert refused.returncode != 0
        assert 'User "nobody" cannot list resource "secrets"' in refused.stderr


def test_objects_outlive_an_outage_of_the_server() -> None:
    with ApiServer() as api:
        api.kubectl("create", "-f", "-", stdin=_config_map("kept", "1"))
        api.stop_server()
        assert api.kubectl("get", "configmap", "kept", check=False).returncode != 0
        api.start_server()
        assert api.kubectl("get", "configmap", "kept", "-o", "jsonpath={.data.value}").stdout == "1"


def test_nothing_is_left_after_the_end() -> None:
    with ApiServer() as api:
        folder, processes = api.folder, list(api._running.values())
        assert folder.exists()
    assert not folder.exists()
    assert all(process.poll() is not None for process in processes)
