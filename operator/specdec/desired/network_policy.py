"""The NetworkPolicy of the engine pods."""

from __future__ import annotations

from collections.abc import Iterator

from specdec.api import names
from specdec.api.manifest import Json, Manifest
from specdec.api.resource import SpeculativeDeployment
from specdec.desired.metadata import child


def network_policy(resource: SpeculativeDeployment) -> Manifest:
    """In: the HTTP port, for clients, operator and Prometheus. Out: name lookups, and the hub if it has the weights.

    The control endpoint shares that port, so it is the control token that guards it, not this policy.
    """
    content = {
        "podSelector": {"matchLabels": names.selector(resource.name)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": [{"port": names.HTTP_PORT, "protocol": "TCP"}]}],
        "egress": list(_egress(resource)),
    }
    name = names.network_policy(resource.name)
    return child(resource, ("networking.k8s.io/v1", "NetworkPolicy"), name, {"spec": content})


def _egress(resource: SpeculativeDeployment) -> Iterator[Json]:
    yield {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}
    sources = (resource.spec.model.source, resource.spec.speculator.source)
    if any(source and source.hugging_face for source in sources):
        yield {"ports": [{"port": 443, "protocol": "TCP"}]}
