"""One API server for the whole session; tests take a namespace each."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.support.apiserver import ApiServer
from tests.support.fleet import eventually
from tests.support.patience import PATIENCE_SECONDS
from tests.support.resource import stored

OPERATOR = "operator"
# An operator whose roles somebody made by hand.
NARROW = "narrow"
CRD = Path(__file__).parents[2] / "operator" / "specdec" / "api" / "crd.yaml"


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


@dataclass(frozen=True, slots=True)
class World:
    """An API server that knows the resource, a namespace of this test's own, and the operator's credentials."""

    api: ApiServer
    namespace: str

    @property
    def kubeconfig(self) -> Path:
        """For the operator, so that the audit log tells its requests from those of the test."""
        return self.api.kubeconfig_for(OPERATOR)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self.api.kubectl("-n", self.namespace, *arguments, stdin=stdin).stdout

    def apply(self, name: str, **spec: Any) -> None:
        """Create or change a small valid resource with `spec` laid over it."""
        body = stored(name, **spec)
        body["metadata"] = {"name": name, "namespace": self.namespace}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(body))

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """The object, empty when there is none."""
        found = self.kubectl("get", kind, name, "--ignore-not-found", "-o", "json")
        body: dict[str, Any] = json.loads(found) if found else {}
        return body

    def items(self, kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", kind, "-o", "json"))["items"]
        return found

    def status(self, name: str) -> dict[str, Any]:
        status: dict[str, Any] = self.get("specdep", name).get("status", {})
        return status

    def condition(self, name: str, type_: str) -> dict[str, Any]:
        conditions = self.status(name).get("conditions", [])
        return next((c for c in conditions if c["type"] == type_), {})

    def events(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.items("events") if event["involvedObject"]["name"] == name]

    def wait_for(self, what: str, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """Wait until `kind/name` exists."""
        kind, _, name = what.partition("/")
        found: dict[str, Any] = eventually(what, lambda: self.get(kind, name), seconds)
        return found

    def wait_condition(
        self, name: str, type_: str, status: str = "True", seconds: float = PATIENCE_SECONDS
    ) -> dict[str, Any]:
        def met() -> dict[str, Any] | None:
            found = self.condition(name, type_)
            return found if found.get("status") == status else None

        found: dict[str, Any] = eventually(f"{type_}={status} of {name}", met, seconds)
        return found

    def writes(self, *, but_leases: bool = True) -> list[str]:
        """What the operator has written so far in this namespace, such as "patch deployments demo"."""
        refs = [(event["verb"], event["objectRef"]) for event in self.api.writes(OPERATOR)]
        return [
            " ".join(filter(None, (verb, ref["resource"], ref.get("subresource"), ref["name"])))
            for verb, ref in refs
            if ref.get("namespace") == self.namespace and not (but_leases and ref["resource"] == "leases")
        ]


@pytest.fixture(scope="session")
def operator_api() -> Iterator[ApiServer]:
    """An API server that knows the resource and removes what has lost its owner."""
    with ApiServer(users={OPERATOR: ("system:masters",), NARROW: ()}, audit=True, garbage_collection=True) as server:
        server.kubectl("apply", "--server-side", "-f", str(CRD))
        server.kubectl("wait", "--for=condition=Established", "--timeout=120s", "-f", str(CRD))
        yield server


@pytest.fixture
def world(operator_api: ApiServer) -> World:
    name = f"test-{uuid4().hex[:8]}"
    operator_api.kubectl("create", "namespace", name)
    return World(operator_api, name)
