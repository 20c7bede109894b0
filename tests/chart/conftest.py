"""One API server for the tests that install the chart."""

from collections.abc import Iterator

import pytest

from tests.support.apiserver import ApiServer


@pytest.fixture(scope="session")
def api_server() -> Iterator[ApiServer]:
    """A real API server, no nodes: objects are stored, pods never run."""
    with ApiServer() as server:
        yield server
