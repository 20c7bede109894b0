"""One pre-forked process and one server for most tests; servers of other configurations are forked from the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.engine import environment
from tests.engine.servers import HIGH_ACCEPTANCE, Server, ServerSpec, Zygote, dflash

HERE: Final = Path(__file__).parent
# A first start installs and compiles; on a busy machine a start takes minutes.
TIMEOUT_SECONDS: Final = 900


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.timeout(TIMEOUT_SECONDS))


@pytest.fixture(scope="session")
def engine_environment() -> environment.EngineEnvironment:
    return environment.installed()


@pytest.fixture(scope="session")
def models(engine_environment: environment.EngineEnvironment) -> Path:
    return environment.models(engine_environment)


@pytest.fixture(scope="session")
def zygote(
    engine_environment: environment.EngineEnvironment, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Zygote]:
    with Zygote(engine_environment, tmp_path_factory.mktemp("engines")) as zygote:
        yield zygote


@pytest.fixture(scope="session")
def server(zygote: Zygote, models: Path) -> Iterator[Server]:
    """The tiny pair with synthetic acceptance, so that every position is accepted now and then."""
    spec = ServerSpec(models / "tiny", dflash(models / "tiny.dflash", rates=HIGH_ACCEPTANCE))
    with zygote.serve(spec, "main") as server:
        yield server
