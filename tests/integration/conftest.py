"""One API server for the whole session; tests take a namespace each."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.support.apiserver import ApiServer


@pytest.fixture(scope="session")
def api_server() -> Iterator[ApiServer]:
    """A running API server with audit log, shared by all tests of this process."""
    with ApiServer(audit=True) as server:
        yield server


@pytest.fixture
def namespace(api_server: ApiServer) -> str:
    """A fresh namespace of this test's own."""
    name = f"test-{uuid4().hex[:8]}"
    api_server.kubectl("create", "namespace", name)
    return name
