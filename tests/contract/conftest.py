"""The engine under test: a simulator, or any other that SPECDEC_CONTRACT_URL names.

SPECDEC_CONTRACT_URL=http://host:port SPECDEC_CONTRACT_TOKEN=... SPECDEC_CONTRACT_MODEL=... make test-contract
runs `test_live_endpoint` and `test_exact_counters` against that engine, which must have no other traffic. A tier with
an engine of its own imports the tests of these modules and defines the three fixtures of an engine itself.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from specdec.engine.live import LiveClient
from specdec.engine.target import Target
from tests.support.patience import PATIENCE_SECONDS
from tests.support.simulator import SimulatedEngine, simulators

URL = os.environ.get("SPECDEC_CONTRACT_URL")


@pytest.fixture(scope="session")
def simulator() -> Iterator[SimulatedEngine]:
    """One engine for all tests that leave it as they found it."""
    with simulators(settings={"SEED": "1", "FAULTS": "1"}) as (engine,):
        yield engine


@pytest.fixture
def engine_url(request: pytest.FixtureRequest) -> str:
    return URL or str(request.getfixturevalue("simulator").url)


@pytest.fixture
def engine_control_token(request: pytest.FixtureRequest) -> str:
    return os.environ["SPECDEC_CONTRACT_TOKEN"] if URL else str(request.getfixturevalue("simulator").token)


@pytest.fixture
def engine_model(request: pytest.FixtureRequest) -> str:
    return os.environ["SPECDEC_CONTRACT_MODEL"] if URL else str(request.getfixturevalue("simulator").model)


@pytest.fixture
async def http(engine_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        base_url=engine_url, timeout=PATIENCE_SECONDS, trust_env=False, verify=False
    ) as client:
        yield client


@pytest.fixture
async def live() -> AsyncIterator[LiveClient]:
    async with LiveClient() as client:
        yield client


@pytest.fixture
def target(engine_url: str, engine_control_token: str) -> Target:
    return Target("pod-0", "1", engine_url, control_token=engine_control_token)
