"""Kills operator pods at random moments of the run, to show that clients notice nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from tests.support.kubectl import Kubectl, KubectlError


@dataclass(slots=True)
class Chaos:
    """`kills` moments spread at random over `seconds`; `act(t)` kills one pod for each moment that has passed.

    killed: names of the pods; leaders: how many of them held the Lease.
    """

    kubectl: Kubectl
    kills: int
    seconds: float
    chance: Random
    killed: list[str] = field(default_factory=list)
    leaders: int = 0
    _due: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._due = sorted(self.chance.uniform(5, self.seconds - 5) for _ in range(self.kills))

    def act(self, t: float) -> None:
        """Kill without grace, as a node that dies would."""
        while self._due and self._due[0] <= t:
            try:
                pods = self.kubectl.list("pods", "app.kubernetes.io/name=specdec-operator")
                running = [pod["metadata"]["name"] for pod in pods if pod["status"].get("phase") == "Running"]
                if not running:
                    return
                victim = self.chance.choice(running)
                leads = _holder(self.kubectl) == victim
                self.kubectl.run("delete", "pod", victim, "--grace-period=0", "--force", "--wait=false")
            except KubectlError:
                return
            self._due.pop(0)
            self.killed.append(victim)
            self.leaders += leads


def _holder(kubectl: Kubectl) -> str | None:
    """Name of the pod that holds the operator's Lease."""
    leases = kubectl.list("leases")
    holders = (
        lease["spec"].get("holderIdentity") for lease in leases if "specdec-operator" in lease["metadata"]["name"]
    )
    return next((holder.partition("_")[0] for holder in holders if holder), None)


def engine_restarts(kubectl: Kubectl) -> dict[str, int]:
    """Container restarts by engine pod; a pod that was replaced shows as another name."""
    pods = kubectl.list("pods", "app.kubernetes.io/name=specdec-engine")
    return {
        pod["metadata"]["name"]: sum(c["restartCount"] for c in pod["status"].get("containerStatuses", []))
        for pod in pods
    }
