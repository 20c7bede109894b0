"""How long the client waits for a server that never answers."""

from __future__ import annotations

import asyncio

import pytest
from kubernetes.aio.client import ApiClient, Configuration

from specdec.kube.client import TIMEOUT_SECONDS, KubeClient
from specdec.kube.errors import Unavailable

CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "default", "name": "one"}}


async def test_no_write_outlasts_the_lease() -> None:
    gone = asyncio.Event()

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        gone.set()

    server = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    api = ApiClient(configuration=Configuration(host=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
    client = KubeClient(api, write_seconds=lambda: 0.2)
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS - 5):
            with pytest.raises(Unavailable):
                await client.apply(CONFIG_MAP)
    finally:
        await api.close()
        await gone.wait()
        server.close()
