"""The NetworkPolicy of the engine pods."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from specdec.api import names
from specdec.api.manifest import Json, Manifest
from specdec.api.network import as_written
from specdec.api.resource import SpeculativeDeployment
from specdec.desired.metadata import child

# OpenShift's name servers listen on 5353, and a policy sees the port of the pod behind the Service.
DNS_PORTS: Final = (53, 5353)


def network_policy(resource: SpeculativeDeployment) -> Manifest | None:
    """In: the HTTP port, for clients, operator and Prometheus. Out: name lookups, and the hub if it has the weights.

    Beyond that what `spec.networkPolicy` adds; None where it switches the policy off. The control endpoint shares that
    port, so it is the control token that guards it, not this policy.
    """
    policy = resource.spec.network_policy
    if not policy.enabled:
        return None
    content = {
        "podSelector": {"matchLabels": names.selector(resource.name)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": [_port(names.HTTP_PORT)]}, *map(as_written, policy.extra_ingress)],
        "egress": [*_egress(resource), *map(as_written, policy.extra_egress)],
    }
    name = names.network_policy(resource.name)
    return child(resource, ("networking.k8s.io/v1", "NetworkPolicy"), name, {"spec": content})


def _egress(resource: SpeculativeDeployment) -> Iterator[Json]:
    yield {"ports": [_port(port, protocol) for port in DNS_PORTS for protocol in ("UDP", "TCP")]}
    sources = (resource.spec.model.source, resource.spec.speculator.source)
    if any(source and source.hugging_face for source in sources):
        yield {"ports": [_port(443)]}


def _port(port: int, protocol: str = "TCP") -> Json:
    return {"port": port, "protocol": protocol}
