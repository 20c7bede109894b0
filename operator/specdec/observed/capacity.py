"""Whether the cluster has room for the pods."""

from __future__ import annotations

import re
from typing import Final

from specdec.api import names
from specdec.api.conditions import Reason, Truth
from specdec.api.report import Finding
from specdec.api.resource import SpeculativeDeployment
from specdec.observed.snapshot import Pod, Snapshot

_NO_GPUS: Final = re.compile(r"Insufficient nvidia\.com/gpu")
_NO_MATCH: Final = re.compile(r"didn't match Pod's node (?:affinity|selector)|node\(s\) had untolerated taint")
_NO_VOLUME: Final = re.compile(r"unbound immediate PersistentVolumeClaims|volume node affinity conflict")
_ROOM: Final = re.compile(r"Insufficient (\S+?)[,.;]?(?:\s|$)")


def capacity(resource: SpeculativeDeployment, seen: Snapshot) -> Finding:
    """What is to be said under CapacityAvailable."""
    pods = seen.engines()
    waiting = [pod for pod in pods if pod.condition("PodScheduled").get("reason") == "Unschedulable"]
    if waiting:
        return _lacking(resource, seen, waiting)
    if not pods:
        return Finding(Truth.UNKNOWN, Reason.NO_PODS, "no pod asks for a node")
    if not all(pod.scheduled for pod in pods):
        return Finding(Truth.UNKNOWN, Reason.NO_PODS, "the scheduler has not looked at every pod yet")
    return Finding(Truth.TRUE, Reason.PODS_SCHEDULED, f"all {len(pods)} pods have a node")


def _lacking(resource: SpeculativeDeployment, seen: Snapshot, waiting: list[Pod]) -> Finding:
    said = str(waiting[0].condition("PodScheduled").get("message", ""))
    head, gpus = f"{len(waiting)} pods wait for a node", resource.spec.engine.parallelism.gpus
    if _NO_GPUS.search(said):
        return Finding(
            Truth.FALSE,
            Reason.INSUFFICIENT_GPUS,
            f"{head} with {gpus} free GPUs; add a node, free GPUs, or lower spec.replicas ({_short(said)})",
        )
    if seen.gpu_nodes == 0 or (_NO_MATCH.search(said) and not _ROOM.search(said)):
        return Finding(Truth.FALSE, Reason.NO_MATCHING_NODE, f"{head}; {_placement_remedy(resource)} ({_short(said)})")
    if _NO_VOLUME.search(said):
        remedy = "name a storage class that offers the access mode in spec.engine.cache, or a claim that is bound"
        return Finding(Truth.FALSE, Reason.VOLUME_NOT_BOUND, f"{head} with its volumes; {remedy} ({_short(said)})")
    return Finding(
        Truth.FALSE, Reason.UNSCHEDULABLE, f"{head}; make room or change spec.placement or resources ({_short(said)})"
    )


def _placement_remedy(resource: SpeculativeDeployment) -> str:
    products = resource.spec.placement.gpu_product
    if not products:
        return "no node fits spec.placement; change it, or label a node"
    return (
        f"no node has the label {names.LABEL_GPU_PRODUCT} with one of {', '.join(products)} and fits spec.placement; "
        "add such a node (the GPU operator sets the label), or change spec.placement.gpuProduct"
    )


def _short(text: str, limit: int = 200) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
