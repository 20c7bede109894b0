"""The kinds of objects that the operator reads or writes, and where the API server keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind as the API server names it. group is empty for the core group."""

    name: str
    group: str
    version: str
    plural: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """URL path of one object, of a namespace's collection, or of the whole cluster's collection."""
        parts = [f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"]
        parts += ["namespaces", quote(namespace, safe="")] if namespace else []
        parts += [self.plural, *(quote(part, safe="") for part in (name, subresource) if part)]
        return "/".join(parts)


@dataclass(frozen=True, slots=True)
class Name:
    """Namespace and name: the identity under which a user knows an object."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


RESOURCE: Final = Kind("SpeculativeDeployment", "specdec.dev", "v1alpha1", "speculativedeployments")
POD: Final = Kind("Pod", "", "v1", "pods")
DEPLOYMENT: Final = Kind("Deployment", "apps", "v1", "deployments")
SERVICE: Final = Kind("Service", "", "v1", "services")
CONFIG_MAP: Final = Kind("ConfigMap", "", "v1", "configmaps")
SECRET: Final = Kind("Secret", "", "v1", "secrets")
SERVICE_ACCOUNT: Final = Kind("ServiceAccount", "", "v1", "serviceaccounts")
VOLUME_CLAIM: Final = Kind("PersistentVolumeClaim", "", "v1", "persistentvolumeclaims")
DISRUPTION_BUDGET: Final = Kind("PodDisruptionBudget", "policy", "v1", "poddisruptionbudgets")
NETWORK_POLICY: Final = Kind("NetworkPolicy", "networking.k8s.io", "v1", "networkpolicies")
POD_MONITOR: Final = Kind("PodMonitor", "monitoring.coreos.com", "v1", "podmonitors")
EVENT: Final = Kind("Event", "", "v1", "events")
LEASE: Final = Kind("Lease", "coordination.k8s.io", "v1", "leases")

# What a pod mounts or runs as comes before the pod's Deployment.
CHILDREN: Final = (
    SERVICE_ACCOUNT,
    SECRET,
    CONFIG_MAP,
    VOLUME_CLAIM,
    SERVICE,
    NETWORK_POLICY,
    DISRUPTION_BUDGET,
    POD_MONITOR,
    DEPLOYMENT,
)
# Not watched: secrets, because the right to list them is one to read them all; pod monitors, which a cluster may lack.
UNWATCHED: Final = (SECRET, POD_MONITOR)
WATCHED: Final = (RESOURCE, *(kind for kind in CHILDREN if kind not in UNWATCHED), POD)
BY_NAME: Final = {kind.name: kind for kind in (RESOURCE, *CHILDREN, POD, EVENT, LEASE)}


def kind_of(manifest: dict[str, Any]) -> Kind:
    """The kind of a manifest; KeyError for one that the operator does not handle."""
    return BY_NAME[manifest["kind"]]


def name_of(manifest: dict[str, Any]) -> Name:
    """Namespace and name of a namespaced manifest."""
    metadata = manifest["metadata"]
    return Name(metadata["namespace"], metadata["name"])
