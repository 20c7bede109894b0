"""A manifest: one object as it is sent to the API server, and the reference by which it is found again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

Json = dict[str, Any]


class Reference(NamedTuple):
    """Identity of an object within the cluster."""

    api_version: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


def reference(body: Json) -> Reference:
    """Reference of any namespaced object that carries apiVersion, kind, namespace and name."""
    metadata = body["metadata"]
    return Reference(body["apiVersion"], body["kind"], metadata["namespace"], metadata["name"])


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object to apply. `body` holds only what we own, ready for server-side apply; treat it as immutable."""

    body: Json

    @property
    def reference(self) -> Reference:
        return reference(self.body)

    @property
    def kind(self) -> str:
        return self.reference.kind

    @property
    def name(self) -> str:
        return self.reference.name
