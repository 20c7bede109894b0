"""Where the arms run: a cluster with the operator, and in it one real engine at a time, which the operator tunes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from tests.cluster import tools
from tests.cluster.__main__ import chosen, load
from tests.e2e.conftest import SYSTEM_NAMESPACE, install
from tests.e2e.looks import patch, schedule, status, wait_ready
from tests.e2e.resources import on_cpu, tuning
from tests.engine.closed_loop.phases import AUTO, MAX_K, MAX_NUM_SEQS, SEQUENCE, Block
from tests.engine.pod import PodEngine, engine_of
from tests.engine.servers import SERVED_NAME
from tests.support.kubectl import Kubectl, until

CLUSTER: Final = "closed-loop"
RESOURCE: Final = "engine"
OPERATOR: Final = "specdec-specdec-operator"
START_SECONDS: Final = 480
# On CPUs with AMX, verifying many tokens in bfloat16 costs little more than few, and a wrong K next to nothing.
DTYPE: Final = "float32"


def prepare() -> Kubectl:
    """The cluster, which stays up afterwards, with the images and the operator in it."""
    os.environ["NAME"] = os.environ.get("NAME") or CLUSTER
    cluster = chosen()
    kubectl = Kubectl(tools.path("kubectl"), cluster.up())
    load(cluster, ("operator", "vllm"))
    install(kubectl)
    return kubectl


@contextmanager
def engine(cluster: Kubectl, block: Block) -> Iterator[tuple[Kubectl, PodEngine]]:
    """kubectl in a namespace of its own and a fresh engine there, about which a fresh operator has learned nothing."""
    space = cluster.within(f"round-{block.round}-{block.name}")
    assert space.namespace is not None
    cluster.run("delete", "namespace", space.namespace, "--ignore-not-found", "--wait=true", limit=240)
    cluster.run("create", "namespace", space.namespace)
    _forget(cluster.within(SYSTEM_NAMESPACE))
    try:
        resource = on_cpu(RESOURCE, SEQUENCE[0].rates, SERVED_NAME, MAX_NUM_SEQS, dtype=DTYPE, tuning=bounds(AUTO))
        space.apply(resource)
        until("the operator saw it", lambda: status(space, RESOURCE))
        wait_ready(space, RESOURCE, START_SECONDS)
        with engine_of(space, RESOURCE) as found:
            yield space, found
    finally:
        cluster.run("delete", "namespace", space.namespace, "--wait=false")


def hand_over(space: Kubectl, arm: str) -> None:
    """Give the engine to `arm`, live; returns once its K is in force. For Auto nothing changes: it had it all along."""
    if arm != AUTO:
        patch(space, RESOURCE, json.dumps({"tuning": bounds(arm)}))
        until("K is in force", lambda: ks(space) == {int(arm)})


def _forget(operator: Kubectl) -> None:
    """Replace the operator's pods: what they learned from one resource they would grant the next."""
    operator.run("rollout", "restart", f"deployment/{OPERATOR}")
    operator.run("rollout", "status", f"deployment/{OPERATOR}", "--timeout=180s", limit=200)


def bounds(arm: str) -> dict[str, Any]:
    """`spec.tuning`: a constant K is an operator that may choose no other."""
    least, most = (1, MAX_K) if arm == AUTO else (int(arm), int(arm))
    return tuning(min=least, max=most, window="1m", cooldown="5s")


def ks(space: Kubectl) -> set[int]:
    """Every K of the schedule in force."""
    return {tier["numSpeculativeTokens"] for tier in schedule(space, RESOURCE)}


def history(space: Kubectl) -> Iterator[str]:
    """What the operator decided and why, oldest first."""
    for entry in reversed(status(space, RESOURCE).get("history", [])):
        yield f"{entry['time']} {entry['reason']}: {entry['from']} -> {entry['to']}"
