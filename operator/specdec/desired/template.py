"""The pod template: one engine container, restricted, with caches on a volume."""

from __future__ import annotations

from typing import Any, Final

from specdec.api import names
from specdec.api.manifest import Json
from specdec.api.names import Role
from specdec.api.resource import SpeculativeDeployment
from specdec.desired.command import command
from specdec.desired.environment import environment
from specdec.desired.metadata import labels
from specdec.desired.overlay import merged
from specdec.desired.placement import placement, resources
from specdec.desired.probes import grace_period_seconds, lifecycle, probes
from specdec.desired.start import Start
from specdec.desired.volumes import volumes

# Any user but root will do; one that is always the same can read what an earlier pod wrote into the cache.
ENGINE_USER: Final = 65532


def pod_template(resource: SpeculativeDeployment, role: Role, start: Start) -> Json:
    """`spec.template` of a Deployment, the user's overlay applied last; the labels that select pods are ours."""
    rendered = {"metadata": _metadata(resource, role, start), "spec": _pod_spec(resource, start)}
    overlaid: Json = merged(rendered, resource.spec.pod_template)
    overlaid["metadata"] = merged(overlaid.get("metadata") or {}, {"labels": _labels(resource, role)})
    return overlaid


def _labels(resource: SpeculativeDeployment, role: Role) -> dict[str, str]:
    return labels(resource) | {names.LABEL_ROLE: role.value}


def _metadata(resource: SpeculativeDeployment, role: Role, start: Start) -> Json:
    restarted = resource.metadata.annotations.get(names.ANNOTATION_RESTART)
    annotations = {names.ANNOTATION_START_K: str(start.k)}
    annotations |= {names.ANNOTATION_RESTART: restarted} if restarted else {}
    return {"labels": _labels(resource, role), "annotations": annotations}


def _pod_spec(resource: SpeculativeDeployment, start: Start) -> Json:
    return {
        "serviceAccountName": names.service_account(resource.name),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace_period_seconds(resource.spec.engine),
        "securityContext": _pod_security(),
        "containers": [_container(resource, start)],
        "volumes": [mounted.volume for mounted in volumes(resource)],
        **placement(resource),
    }


def _container(resource: SpeculativeDeployment, start: Start) -> dict[str, Any]:
    engine, words = resource.spec.engine, command(resource, start)
    return {
        "name": names.CONTAINER,
        "image": engine.image,
        "command": words[:3],
        "args": words[3:],
        "env": environment(resource),
        "ports": [{"name": names.HTTP_PORT_NAME, "containerPort": names.HTTP_PORT, "protocol": "TCP"}],
        "resources": resources(engine),
        "volumeMounts": [mounted.mount for mounted in volumes(resource)],
        **probes(engine),
        "lifecycle": lifecycle(),
        # the last lines of the log, so that a crash can be told in a condition
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _pod_security() -> Json:
    return {
        "runAsNonRoot": True,
        "runAsUser": ENGINE_USER,
        "runAsGroup": ENGINE_USER,
        "fsGroup": ENGINE_USER,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
