"""What tests look at, in a user's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tests.support.kubectl import Kubectl, condition, until

CHILDREN: Final = "deployments,services,secrets,configmaps,serviceaccounts,poddisruptionbudgets,networkpolicies"
OPERATOR: Final = "app.kubernetes.io/name=specdec-operator"


def wait_ready(space: Kubectl, name: str, limit: int = 180) -> None:
    space.run("wait", f"specdep/{name}", "--for=condition=Ready", f"--timeout={limit}s", limit=limit + 10)


def status(space: Kubectl, name: str) -> dict[str, Any]:
    found: dict[str, Any] = space.get("specdep", name).get("status", {})
    return found


def await_condition(space: Kubectl, name: str, kind: str, value: str, limit: float = 120) -> Mapping[str, Any]:
    """The condition, once its status is `value`."""

    def look() -> Mapping[str, Any] | None:
        found = condition(space.get("specdep", name), kind)
        return found if found.get("status") == value else None

    return until(f"{kind} of {name} is {value}", look, limit)


def await_replicas(space: Kubectl, name: str, replicas: int) -> None:
    until(f"{replicas} ready replicas", lambda: status(space, name).get("readyReplicas") == replicas)


def patch(space: Kubectl, name: str, spec: str) -> None:
    """Change the spec by a JSON merge patch and wait until the operator has observed it."""
    space.run("patch", "specdep", name, "--type=merge", "-p", f'{{"spec": {spec}}}')
    generation = space.get("specdep", name)["metadata"]["generation"]
    until("the edit is observed", lambda: status(space, name).get("observedGeneration") == generation)


def schedule(space: Kubectl, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = status(space, name).get("speculation", {}).get("schedule", [])
    return found


def smallest_k(space: Kubectl, name: str) -> int:
    return min((tier["numSpeculativeTokens"] for tier in schedule(space, name)), default=7)


def owned(space: Kubectl, name: str) -> list[str]:
    """kind/name of what hangs on the resource."""
    return [
        f"{item['kind']}/{item['metadata']['name']}"
        for item in space.list(CHILDREN)
        if any(owner["name"] == name for owner in item["metadata"].get("ownerReferences", []))
    ]


def running(space: Kubectl, name: str) -> tuple[dict[str, Any], set[tuple[str, int]]]:
    """What the pods of a resource are to run, and which they are.

    A restart shows in the Deployment's template as soon as the operator asks for it, in the pods only later.
    """
    template: dict[str, Any] = space.get("deployment", name)["spec"]["template"]
    return template, pod_ids(space)


def pod_ids(space: Kubectl) -> set[tuple[str, int]]:
    """UID and restart count of each pod."""
    return {
        (pod["metadata"]["uid"], sum(c["restartCount"] for c in pod["status"].get("containerStatuses", [])))
        for pod in space.list("pods")
    }
