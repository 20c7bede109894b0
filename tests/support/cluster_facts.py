"""Builders of Deployments and pods as the API server would return them, for tests that look at a snapshot."""

from __future__ import annotations

from typing import Any

from specdec.api import names
from specdec.api.names import Role
from specdec.observed import Refusal, Snapshot

Json = dict[str, Any]


def deployment(
    replicas: int = 1,
    *,
    ready: int | None = None,
    updated: int | None = None,
    role: Role = Role.STABLE,
    behind: bool = False,
    conditions: tuple[Json, ...] = (),
) -> Json:
    """A Deployment of the resource "demo"; everything is up and updated unless said otherwise."""
    status = {
        "observedGeneration": 1 if behind else 2,
        "replicas": replicas,
        "readyReplicas": replicas if ready is None else ready,
        "updatedReplicas": replicas if updated is None else updated,
        "conditions": list(conditions),
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": names.deployment("demo", role), "namespace": "default", "generation": 2},
        "status": status,
    }


def pod(
    name: str = "demo-1",
    *,
    ready: bool = True,
    unschedulable: str | None = None,
    waiting: tuple[str, str] | None = None,
    ended: Json | None = None,
    started: bool = False,
    restarts: int = 0,
    scheduled: bool = True,
    phase: str = "Running",
) -> Json:
    """An engine pod. waiting: (reason, message) of its container; ended: its last termination."""
    if unschedulable:
        placed = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": unschedulable}
    else:
        placed = {"type": "PodScheduled", "status": "True" if scheduled else "False"}
    container = {
        "name": names.CONTAINER,
        "restartCount": restarts,
        "started": started,
        "state": {"waiting": {"reason": waiting[0], "message": waiting[1]}} if waiting else {"running": {}},
        "lastState": {"terminated": ended} if ended else {},
    }
    conditions = [{"type": "Ready", "status": "True" if ready and not unschedulable else "False"}, placed]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "status": {"phase": phase, "conditions": conditions, "containerStatuses": [container]},
    }


def seen(*bodies: Json, refusals: tuple[Refusal, ...] = ()) -> Snapshot:
    """A snapshot of these Deployments and pods."""
    return Snapshot(
        children=tuple(body for body in bodies if body["kind"] != "Pod"),
        pods=tuple(body for body in bodies if body["kind"] == "Pod"),
        refusals=refusals,
    )
