"""Whether pods are being replaced. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def rolling(children: Iterable[dict[str, Any]]) -> bool:
    """Whether a Deployment has yet to be noticed by its controller, has pods of two templates, or lacks new ones."""
    return any(_rolling(child) for child in children if child["kind"] == "Deployment")


def _rolling(deployment: dict[str, Any]) -> bool:
    status, spec = deployment.get("status") or {}, deployment["spec"]
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 0):
        return True
    updated = status.get("updatedReplicas", 0)
    return bool(updated < spec.get("replicas", 1) or status.get("replicas", 0) > updated)
