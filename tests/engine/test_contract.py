"""The tests of the engine contract, which the simulator passes as well, against real vLLM."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.conftest import http, live, target
from tests.contract.test_exact_counters import *  # noqa: F403
from tests.contract.test_live_endpoint import *  # noqa: F403
from tests.engine.servers import (
    CONTROL_TOKEN,
    HIGH_ACCEPTANCE,
    SERVED_NAME,
    Server,
    ServerSpec,
    Zygote,
    dflash,
    until,
)

__all__ = ["http", "live", "target"]


@pytest.fixture(scope="module")
def server(zygote: Zygote, models: Path) -> Iterator[Server]:
    """An engine of its own: tokens that an aborted request no longer took are in our totals, not in vLLM's."""
    spec = ServerSpec(models / "tiny", dflash(models / "tiny.dflash", rates=HIGH_ACCEPTANCE))
    with zygote.serve(spec, "contract") as server:
        yield server


@pytest.fixture(autouse=True)
def drafting(server: Server) -> None:
    """Each test finds the engine drafting and quiet, whatever the one before left in force."""
    server.set_k(7)
    until(lambda: server.running() == 0, 30, "a quiet engine")


@pytest.fixture
def engine_url(server: Server) -> str:
    return server.url


@pytest.fixture
def engine_control_token() -> str:
    return CONTROL_TOKEN


@pytest.fixture
def engine_model() -> str:
    return SERVED_NAME
