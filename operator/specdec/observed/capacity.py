"""Whether the cluster has room for the pods."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from specdec.api import names
from specdec.api.conditions import Reason, Truth
from specdec.api.report import Finding
from specdec.api.resource import SpeculativeDeployment
from specdec.observed.snapshot import Pod, Snapshot


@dataclass(frozen=True, slots=True)
class Lack:
    """One thing that a node may lack, recognised by the scheduler's words.

    unless: words that speak of something else. remedy: what to do; also has the pod's GPUs and the wanted products.
    """

    reason: Reason
    pattern: re.Pattern[str]
    remedy: str
    unless: re.Pattern[str] | None = None

    def told_by(self, said: str) -> bool:
        return self.pattern.search(said) is not None and not (self.unless and self.unless.search(said))


LACKS: Final = (
    Lack(
        Reason.INSUFFICIENT_GPUS,
        re.compile(r"Insufficient nvidia\.com/gpu"),
        "each needs {gpus} free GPUs on one node: add a node, free GPUs, or lower spec.replicas",
    ),
    Lack(
        Reason.NO_MATCHING_NODE,
        re.compile(r"didn't match Pod's node (?:affinity|selector)|had untolerated taint"),
        f"no node has {names.LABEL_GPU_PRODUCT} of {{products}} and fits spec.placement: add one (the GPU operator "
        "sets the label), or change spec.placement",
        unless=re.compile(r"Insufficient \S"),
    ),
    Lack(
        Reason.VOLUME_NOT_BOUND,
        re.compile(r"unbound immediate PersistentVolumeClaims|volume node affinity conflict"),
        "their volumes are not to be had: name a storage class that offers the access mode in spec.engine.cache, or a "
        "claim that is bound",
    ),
    Lack(Reason.UNSCHEDULABLE, re.compile(""), "make room, or change spec.placement or spec.engine.resources"),
)
SAID_LIMIT: Final = 200


def capacity(resource: SpeculativeDeployment, seen: Snapshot, now: str) -> Finding:
    """What is to be said under CapacityAvailable. now: RFC 3339."""
    pods, leaving = seen.engines(), seen.leaving()
    stuck = [pod for pod in leaving if pod.overdue(now)]
    waiting = [pod for pod in pods if pod.condition("PodScheduled").get("reason") == "Unschedulable"]
    if waiting and len(waiting) <= len(leaving) - len(stuck):
        message = f"{len(waiting)} of {len(pods)} pods wait for the GPUs of pods that are still draining"
        return Finding(Truth.UNKNOWN, Reason.AWAITING_RELEASE, message)
    if waiting:
        return _lacking(resource, pods, waiting, stuck)
    if not pods:
        return Finding(Truth.UNKNOWN, Reason.NO_PODS, "no pod asks for a node")
    if not all(pod.scheduled for pod in pods):
        return Finding(Truth.UNKNOWN, Reason.NO_PODS, "the scheduler has not looked at every pod yet")
    return Finding(Truth.TRUE, Reason.PODS_SCHEDULED, f"{len(pods)} of {len(pods)} pods have a node")


def _lacking(
    resource: SpeculativeDeployment, pods: Sequence[Pod], waiting: Sequence[Pod], stuck: Sequence[Pod]
) -> Finding:
    """The first lack that the scheduler tells of; the order is the order users read about."""
    said = str(waiting[0].condition("PodScheduled").get("message", ""))
    lack = next(each for each in LACKS if each.told_by(said))
    products = " or ".join(resource.spec.placement.gpu_product) or "any value"
    remedy = lack.remedy.format(gpus=resource.spec.engine.parallelism.gpus, products=products)
    head = f"{len(waiting)} of {len(pods)} pods found no node{_stuck(stuck)}"
    return Finding(Truth.FALSE, lack.reason, f"{head}; {remedy} (the scheduler says: {_short(said)})")


def _stuck(pods: Sequence[Pod]) -> str:
    """What to do about pods that should be gone, "" where there are none."""
    if not pods:
        return ""
    more = f" and {len(pods) - 1} more" if len(pods) > 1 else ""
    return (
        f"; pod {pods[0].name}{more} should be gone and still holds what it ran on: if its node is dead, delete the "
        "Node, else force-delete the pod"
    )


def _short(text: str) -> str:
    return text if len(text) <= SAID_LIMIT else f"{text[: SAID_LIMIT - 1]}…"
