"""What a pass over a resource tells although the API server fails in its midst."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from specdec.controllers.process import Operator
from specdec.controllers.settings import Settings
from specdec.kube.errors import NotFound, Unavailable
from specdec.kube.kinds import RESOURCE, Kind, Name
from tests.support.clock import in_no_time
from tests.support.resource import stored

NOBODY: Any = None
DEMO = Name("default", "demo")
SETTINGS = Settings(
    namespaces=(), lease_namespace="default", lease_name="operator", identity="a", leader_election=False
)


class Server:
    """Takes every write but those of the kinds that are `down`, and notes the reasons of events."""

    api = SimpleNamespace(configuration=None)

    def __init__(self) -> None:
        self.version = 0
        self.down: set[str] = set()
        self.told: list[str] = []

    async def apply(self, manifest: dict[str, Any], *, force: bool = True) -> dict[str, Any]:
        return self._taken(manifest["kind"], manifest)

    async def apply_status(self, manifest: dict[str, Any]) -> dict[str, Any]:
        return self._taken("status", manifest)

    async def create(self, manifest: dict[str, Any]) -> dict[str, Any]:
        self.told.append(manifest["reason"])
        return manifest

    async def get(self, kind: Kind, name: Name) -> dict[str, Any]:
        raise NotFound(f"{kind.name} {name}")

    def _taken(self, what: str, manifest: dict[str, Any]) -> dict[str, Any]:
        if what in self.down:
            raise Unavailable(f"{what} is not written")
        return self.shown(manifest)

    def shown(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """As a watch would show it."""
        self.version += 1
        metadata = {"uid": f"{manifest['kind']}-uid", **manifest["metadata"], "resourceVersion": str(self.version)}
        return {**manifest, "metadata": metadata}


async def one_pass(operator: Operator, server: Server, *down: str, **spec: Any) -> list[str]:
    """What is told in a pass over `spec` while the kinds `down` cannot be written."""
    operator.cache.put(RESOURCE, server.shown(stored(**spec)))
    server.down, server.told = set(down), []
    try:
        await operator.reconciler.work(DEMO)
    except Unavailable:
        assert down
    return server.told


@pytest.mark.parametrize("down", ["Deployment", "status"])
def test_a_step_that_is_stored_is_told_whatever_fails_after_it(down: str) -> None:
    async def main() -> None:
        server: Any = Server()
        operator = Operator(SETTINGS, server, server, NOBODY)
        await one_pass(operator, server)
        edit = {"speculator": {"numSpeculativeTokens": 5}}
        assert "PodTemplateChanged" in await one_pass(operator, server, down, **edit)
        assert "PodTemplateChanged" not in await one_pass(operator, server, **edit), "it is told once"

    in_no_time(main())


def test_children_that_were_made_are_told_though_the_status_is_not_written() -> None:
    async def main() -> None:
        server: Any = Server()
        operator = Operator(SETTINGS, server, server, NOBODY)
        assert "ChildrenApplied" in await one_pass(operator, server, "status")

    in_no_time(main())
