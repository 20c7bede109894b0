"""Which nodes a pod may run on, and how many GPUs it takes there."""

from __future__ import annotations

from typing import Any

from specdec.api import names
from specdec.api.engine import Engine
from specdec.api.fleet import Placement
from specdec.api.manifest import Json
from specdec.api.resource import SpeculativeDeployment


def placement(resource: SpeculativeDeployment) -> Json:
    """Fields of the pod spec; none that would be empty."""
    wanted = resource.spec.placement
    fields: Json = {
        "nodeSelector": dict(wanted.node_selector),
        "tolerations": _tolerations(wanted),
        "affinity": affinity(wanted),
        "topologySpreadConstraints": [_spread(resource, each) for each in wanted.topology_spread_constraints],
        "priorityClassName": wanted.priority_class_name,
    }
    return {name: value for name, value in fields.items() if value}


def affinity(wanted: Placement) -> Json:
    """The user's affinity with the GPU product required in each of its required node terms."""
    if not wanted.gpu_product:
        return dict(wanted.affinity)
    product = {"key": names.LABEL_GPU_PRODUCT, "operator": "In", "values": list(wanted.gpu_product)}
    given: Any = wanted.affinity
    node = given.get("nodeAffinity") or {}
    required = node.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    terms = [
        {**term, "matchExpressions": [*(term.get("matchExpressions") or []), product]}
        for term in required.get("nodeSelectorTerms") or [{}]
    ]
    required = {**required, "nodeSelectorTerms": terms}
    return {**given, "nodeAffinity": {**node, "requiredDuringSchedulingIgnoredDuringExecution": required}}


def resources(engine: Engine) -> Json:
    """Requests and limits of the container; GPUs must stand in both."""
    gpus = {names.GPU_RESOURCE: str(engine.parallelism.gpus)}
    return {
        "requests": {**engine.resources.requests, **gpus},
        "limits": {**engine.resources.limits, **gpus},
    }


def _tolerations(wanted: Placement) -> list[Json]:
    own = {"key": names.GPU_RESOURCE, "operator": "Exists", "effect": "NoSchedule"}
    users = [each.model_dump(by_alias=True, exclude_none=True) for each in wanted.tolerations]
    return [own, *(each for each in users if each != own)]


def _spread(resource: SpeculativeDeployment, constraint: Json) -> Json:
    return {"labelSelector": {"matchLabels": names.selector(resource.name)}, **constraint}
