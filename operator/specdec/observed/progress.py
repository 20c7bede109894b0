"""How far the rollout is, from what the Deployments say of themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from specdec.api.conditions import Reason
from specdec.api.manifest import Json
from specdec.api.names import Role
from specdec.api.resource import SpeculativeDeployment
from specdec.observed.snapshot import Snapshot

_FIELDS: Final = {"replicas": "replicas", "ready": "readyReplicas", "updated": "updatedReplicas"}
# What has to be written before the pods can follow the spec: their templates, and the record that comes before those.
_LEADING: Final = ("Deployment", "ConfigMap")


@dataclass(frozen=True, slots=True)
class Counts:
    """Pods of stable and trial together."""

    wanted: int
    replicas: int
    ready: int
    updated: int


@dataclass(frozen=True, slots=True)
class Progress:
    """done: nothing moves and nothing is missing."""

    counts: Counts
    done: bool
    reason: Reason
    message: str


def progress(resource: SpeculativeDeployment, seen: Snapshot) -> Progress:
    """Where the rollout stands. The first thing that is not done yet gives the reason."""
    found = [body for role in Role if (body := seen.deployment(resource.name, role))]
    counts = Counts(
        wanted=resource.spec.replicas,
        **{name: sum(_counted(body, field) for body in found) for name, field in _FIELDS.items()},
    )
    undone = _unseen(resource, seen, found) or _moving(counts, resource.spec.paused) or _held(seen)
    reason, message = undone or (Reason.UP_TO_DATE, "all pods are up to date")
    return Progress(counts, reason is Reason.UP_TO_DATE, reason, message)


def deadline_exceeded(resource: SpeculativeDeployment, seen: Snapshot) -> str | None:
    """The Deployment controller's own words when it has given up on a rollout."""
    return _condition(seen.deployment(resource.name), "Progressing", "False", "ProgressDeadlineExceeded")


def pods_refused(resource: SpeculativeDeployment, seen: Snapshot) -> str | None:
    """Why pods could not even be created (quota, pod security, admission), in the API server's words."""
    return _condition(seen.deployment(resource.name), "ReplicaFailure", "True", None)


def _unseen(resource: SpeculativeDeployment, seen: Snapshot, found: list[Json]) -> tuple[Reason, str] | None:
    if refused := next((refusal.child for refusal in seen.refusals if refusal.child.kind in _LEADING), None):
        return Reason.ROLLOUT_NOT_OBSERVED, f"{refused} could not be written; see Stalled"
    if seen.deployment(resource.name) is None:
        return Reason.ROLLOUT_NOT_OBSERVED, "the Deployment does not exist yet"
    if any(_behind(body) for body in found):
        return Reason.ROLLOUT_NOT_OBSERVED, "the Deployment controller has not seen the latest change yet"
    return None


def _moving(counts: Counts, paused: bool) -> tuple[Reason, str] | None:
    wanted, updated = counts.wanted, counts.updated
    if updated < wanted:
        said = f"{updated} of {wanted} pods follow the latest template"
        return (Reason.PAUSED, f"{said}; spec.paused holds the rest") if paused else (Reason.ROLLOUT_IN_PROGRESS, said)
    if counts.replicas > wanted:
        return Reason.ROLLOUT_IN_PROGRESS, f"{counts.replicas - wanted} superfluous pods are still to go"
    if counts.ready < wanted:
        return Reason.ROLLOUT_IN_PROGRESS, f"{counts.ready} of {wanted} pods are ready"
    return None


def _held(seen: Snapshot) -> tuple[Reason, str] | None:
    return (Reason.PAUSED, f"{seen.held}; spec.paused holds the pods as they are") if seen.held else None


def _behind(deployment: Json) -> bool:
    return _counted(deployment, "observedGeneration") < int(deployment["metadata"].get("generation") or 0)


def _counted(deployment: Json, field: str) -> int:
    return int((deployment.get("status") or {}).get(field) or 0)


def _condition(deployment: Json | None, type_: str, status: str, reason: str | None) -> str | None:
    conditions = ((deployment or {}).get("status") or {}).get("conditions") or ()
    for entry in conditions:
        if (entry["type"], entry["status"]) == (type_, status) and reason in (None, entry.get("reason")):
            return str(entry.get("message", ""))
    return None
