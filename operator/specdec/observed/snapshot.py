"""What `status` looks at: children and pods as the API server returns them, read leniently.

Of pods only these fields are read: metadata.name, .labels, .deletionTimestamp; status.phase, .reason, .message,
.conditions, .containerStatuses, .initContainerStatuses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from specdec.api import names
from specdec.api.manifest import Json, Reference
from specdec.api.names import Role

# A pod's deletionTimestamp is when its grace period ends; the kubelet kills it then, and reports it gone soon after.
OVERDUE_AFTER: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A child that the API server refused to store, in its words, with what to do about it.

    taken: the name belongs to somebody else's object.
    """

    child: Reference
    message: str
    taken: bool = False
    remedy: str = "correct the part of the spec that it comes from"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment of a resource's surroundings.

    children, pods: those that bear the owner label.
    refusals: children that could not be written in this pass. held: what the pods do not follow because of spec.paused.
    """

    children: tuple[Json, ...] = ()
    pods: tuple[Json, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    held: str | None = None

    def deployment(self, resource: str, role: Role = Role.STABLE) -> Json | None:
        """The Deployment of `role`, if it exists."""
        name = names.deployment(resource, role)
        found = (body for body in self.children if body["kind"] == "Deployment" and body["metadata"]["name"] == name)
        return next(found, None)

    def leaving(self) -> tuple[Pod, ...]:
        """Pods that are on their way out and still hold what they run on, by name."""
        going = (Pod(body) for body in self.pods if "deletionTimestamp" in body["metadata"])
        return tuple(sorted((pod for pod in going if not pod.ended), key=lambda pod: pod.name))

    def engines(self) -> tuple[Pod, ...]:
        """Pods that are not on their way out, by name."""
        alive = (Pod(body) for body in self.pods if "deletionTimestamp" not in body["metadata"])
        return tuple(sorted((pod for pod in alive if not pod.ended), key=lambda pod: pod.name))


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod, read field by field; whatever is absent reads as empty."""

    body: Json

    @property
    def name(self) -> str:
        return str(self.body["metadata"]["name"])

    @property
    def ended(self) -> bool:
        return self._status.get("phase") in ("Succeeded", "Failed")

    def overdue(self, now: str) -> bool:
        """Whether it should be gone, as when the kubelet of its node is dead. now: RFC 3339."""
        due = self.body["metadata"].get("deletionTimestamp")
        return due is not None and datetime.fromisoformat(now) - datetime.fromisoformat(due) > OVERDUE_AFTER

    @property
    def ready(self) -> bool:
        return self.condition("Ready").get("status") == "True"

    @property
    def scheduled(self) -> bool:
        return self.condition("PodScheduled").get("status") == "True"

    def condition(self, type_: str) -> Json:
        """The pod's condition of this type, or an empty struct."""
        found = (entry for entry in self._status.get("conditions") or () if entry.get("type") == type_)
        return next(found, {})

    @property
    def waiting(self) -> Iterator[Json]:
        """The waiting states of its containers, such as {"reason": "ImagePullBackOff", "message": ...}."""
        for status in self._containers():
            if waiting := (status.get("state") or {}).get("waiting"):
                yield waiting

    @property
    def last_end(self) -> Json:
        """How the engine ended last: {"exitCode", "reason", "message", "startedAt", "finishedAt"}, or empty."""
        for state in (self._engine.get("state") or {}, self._engine.get("lastState") or {}):
            if ended := state.get("terminated"):
                return dict(ended)
        return {}

    @property
    def restarts(self) -> int:
        return int(self._engine.get("restartCount") or 0)

    @property
    def started(self) -> bool:
        """Whether the engine now running has passed its startup probe."""
        return bool(self._engine.get("started"))

    @property
    def _status(self) -> Json:
        return self.body.get("status") or {}

    @property
    def _engine(self) -> Json:
        found = (status for status in self._status.get("containerStatuses") or () if status["name"] == names.CONTAINER)
        return next(found, {})

    def _containers(self) -> list[Any]:
        status = self._status
        return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
