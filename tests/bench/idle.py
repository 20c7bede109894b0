"""`make bench-idle`: what the operator writes while nothing happens, counted in the API server's audit log.

Twenty simulated resources on the local cluster, Ready and without traffic, watched for SECONDS (600). Renewals of the
operator's Lease are counted apart: they are how replicas know of each other, and touch no object of a user.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from tests.bench.figures import Figure, publish
from tests.cluster import audit, local, tools
from tests.cluster.controlplane import audit_log
from tests.e2e.conftest import SYSTEM_NAMESPACE, install
from tests.e2e.looks import status, wait_ready
from tests.e2e.resources import simulated
from tests.support.kubectl import Kubectl, until

RESOURCES: Final = 20
NAMESPACE: Final = "idle"
QUIET_SECONDS: Final = 30.0
REPORT_SECONDS: Final = 60.0


def main() -> int:
    """Exit status 1 when anything but a Lease was written."""
    seconds = float(os.environ.get("SECONDS_IDLE") or 600)
    layout = local.find(os.environ.get("NAME") or "specdec")
    if layout is None:
        print("error: no local cluster runs; `make cluster-up CLUSTER=local` starts one", file=sys.stderr)
        return 2
    cluster = Kubectl(tools.path("kubectl"), layout.kubeconfig)
    install(cluster)
    with resources(cluster) as space:
        for number in range(RESOURCES):
            wait_ready(space, f"idle-{number}", limit=600)
        log = audit_log(layout)
        until("a quiet spell", lambda: not written(log, time.time() - QUIET_SECONDS), limit=600)
        began = time.time()
        watch(seconds)
        lease, others = split(written(log, began, leases=True))
    publish(
        "idle",
        [
            Figure(f"writes to objects in {seconds:.0f} s, {RESOURCES} resources at rest", len(others), "requests"),
            Figure(
                "Lease renewals", len(lease) / seconds, "requests/s", 0.5, "LeaderWorkerSet 0.9.0, measured elsewhere"
            ),
        ],
    )
    for line, count in Counter(others).most_common(10):
        print(f"  {count} x {line}")
    return 1 if others else 0


@contextmanager
def resources(cluster: Kubectl) -> Iterator[Kubectl]:
    """kubectl in a namespace with the resources, none of which takes a GPU."""
    cluster.run("create", "namespace", NAMESPACE)
    space = cluster.within(NAMESPACE)
    try:
        space.apply(*(without_gpu(simulated(f"idle-{number}")) for number in range(RESOURCES)))
        for number in range(RESOURCES):
            until("the operator saw it", lambda name=f"idle-{number}": status(space, name))  # type: ignore[misc]
        yield space
    finally:
        cluster.run("delete", "namespace", NAMESPACE, "--wait=false")


def without_gpu(resource: dict[str, Any]) -> dict[str, Any]:
    """Two nodes have sixteen GPUs, too few for twenty resources."""
    resources = {"$patch": "replace", "requests": {"cpu": "10m", "memory": "64Mi"}}
    resource["spec"]["podTemplate"] = {"spec": {"containers": [{"name": "engine", "resources": resources}]}}
    return resource


def written(log: Any, since: float, *, leases: bool = False) -> list[str]:
    """Verb and address of each of the operator's writes from the moment `since` (Unix time).

    What it writes for resources of other namespaces, which may not be at rest, is left out.
    """
    moment = datetime.fromtimestamp(since, UTC)
    operator = f"system:serviceaccount:{SYSTEM_NAMESPACE}:"
    return [
        f"{event['verb']} {event['requestURI']}"
        for event in audit.since(audit.writes(audit.events(log)), moment)
        if event["user"]["username"].startswith(operator) and _concerns(event["requestURI"], leases=leases)
    ]


def _concerns(address: str, *, leases: bool) -> bool:
    if "/leases" in address:
        return leases
    return f"/namespaces/{NAMESPACE}/" in address or "/namespaces/" not in address


def split(requests: list[str]) -> tuple[list[str], list[str]]:
    """Writes of Leases, and all others."""
    lease = [request for request in requests if "/leases" in request]
    return lease, [request for request in requests if "/leases" not in request]


def watch(seconds: float) -> None:
    """Let time pass, saying so each minute."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        print(f"idle for {left:.0f} s more", file=sys.stderr)
        time.sleep(min(left, REPORT_SECONDS))


if __name__ == "__main__":
    sys.exit(main())
