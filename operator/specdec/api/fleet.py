"""Where pods run, how they are replaced, and what watches them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue

from specdec.api.rules import Model, Rule

FreeObject = dict[str, JsonValue]
"""A struct of the Kubernetes API that is passed on as it is."""


class Rollout(Model):
    """How pods are replaced."""

    max_unavailable: Annotated[int, Field(ge=0, le=1000)] = 1
    """Pods that may be missing meanwhile."""
    max_surge: Annotated[int, Field(ge=0, le=1000)] = 0
    """Pods that may exist beyond `replicas` meanwhile. Above 0 it needs spare GPUs."""

    rules = (
        Rule(
            cel="self.maxUnavailable > 0 || self.maxSurge > 0",
            holds=lambda self: self.max_unavailable > 0 or self.max_surge > 0,
            message="spec.rollout.maxUnavailable and spec.rollout.maxSurge are both 0, so no pod could ever be "
            "replaced; set maxUnavailable to 1, or maxSurge to 1 if a spare node's GPUs are free",
            path=".maxUnavailable",
        ),
    )


class Toleration(Model):
    """As in a pod."""

    key: Annotated[str, Field(max_length=317)] | None = None
    """Taint key; every key if unset."""
    operator: Annotated[str, Field(max_length=16)] | None = None
    """Exists or Equal."""
    value: Annotated[str, Field(max_length=63)] | None = None
    """Taint value for Equal."""
    effect: Annotated[str, Field(max_length=32)] | None = None
    """NoSchedule, PreferNoSchedule or NoExecute; every effect if unset."""
    toleration_seconds: int | None = None
    """How long NoExecute is tolerated."""


class Placement(Model):
    """Where pods may run."""

    gpu_product: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=63)], ...],
        Field(max_length=16, json_schema_extra={"x-kubernetes-list-type": "set"}),
    ] = ("NVIDIA-H200",)
    """Values of the node label nvidia.com/gpu.product that will do; any node if empty."""
    node_selector: Annotated[dict[str, str], Field(max_length=32)] = {}
    """Further node labels, as in a pod."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=32)] = ()
    """As in a pod; the taint nvidia.com/gpu is always tolerated."""
    affinity: FreeObject = {}
    """As in a pod; `gpuProduct` is added to each required node term."""
    topology_spread_constraints: Annotated[tuple[FreeObject, ...], Field(max_length=16)] = ()
    """As in a pod; without a labelSelector they count this resource's pods."""
    priority_class_name: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """As in a pod."""


class Monitoring(Model):
    """How the pods are watched."""

    scrape_interval_seconds: Annotated[int, Field(ge=1, le=300)] = 15
    """How often the operator reads each pod's metrics."""
    pod_monitor: bool = False
    """Make a PodMonitor, for the Prometheus operator."""
