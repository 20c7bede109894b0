"""Which pods serve, and how to reach them. Pure."""

from __future__ import annotations

from typing import Any

from specdec.api.names import CONTAINER, HTTP_PORT, LABEL_ROLE, Role
from specdec.engine.target import Target

Json = dict[str, Any]


def serving(pods: tuple[Json, ...], *roles: Role) -> tuple[Json, ...]:
    """The pods of `roles`, by default the stable ones, that are ready, have an address and are not on their way out."""
    return tuple(pod for pod in pods if _role(pod) in (roles or (Role.STABLE,)) and _serves(pod))


def target(pod: Json, control_token: str | None = None, api_key: str | None = None) -> Target:
    """The engine of `pod`."""
    address = pod["status"]["podIP"]
    host = f"[{address}]" if ":" in address else address
    return Target(pod["metadata"]["name"], incarnation(pod), f"http://{host}:{HTTP_PORT}", control_token, api_key)


def incarnation(pod: Json) -> str:
    """Changes whenever the engine's process may be another one."""
    statuses = pod["status"].get("containerStatuses") or []
    restarts = next((status.get("restartCount", 0) for status in statuses if status.get("name") == CONTAINER), 0)
    return f"{pod['metadata']['uid']}/{restarts}"


def _role(pod: Json) -> str | None:
    return (pod["metadata"].get("labels") or {}).get(LABEL_ROLE)


def _serves(pod: Json) -> bool:
    status = pod.get("status") or {}
    ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in status.get("conditions") or [])
    return ready and bool(status.get("podIP")) and not pod["metadata"].get("deletionTimestamp")
