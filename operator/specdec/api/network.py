"""What the engine pods may be reached by and may reach, beyond what the operator knows of: Kubernetes' own types."""

from __future__ import annotations

import ipaddress
import re
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field, WithJsonSchema

from specdec.api.rules import Model, Rule, matching

_PORT_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?")
_MOST_PORT: Final = 65535


def _is_port(value: int | str) -> bool:
    if isinstance(value, int):
        return 1 <= value <= _MOST_PORT
    return _PORT_NAME.fullmatch(value) is not None


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


PortReference = Annotated[
    int | str,
    Rule("true", _is_port, "is not a port; write a number from 1 to 65535, or the name of a pod's port"),
    # in place of the rule, whose cost the API server cannot bound on what is a number or a text
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "minimum": 1,
            "maximum": _MOST_PORT,
            "pattern": f"^(?:{_PORT_NAME.pattern})$",
        }
    ),
]
"""A port by number, or by its name in the pod."""

Network = Annotated[
    str,
    Field(max_length=43),
    matching(
        r"[0-9a-fA-F:.]+/[0-9]{1,3}",
        "is not a network; write it in CIDR notation, such as 10.0.0.0/8",
        also=_is_network,
    ),
]
"""Addresses in CIDR notation."""


class LabelOperator(StrEnum):
    """How a label is compared."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class LabelRequirement(Model):
    """As in a NetworkPolicy."""

    key: Annotated[str, Field(min_length=1, max_length=317)]
    """Label."""
    operator: LabelOperator
    """How it is compared with `values`."""
    values: Annotated[tuple[Annotated[str, Field(max_length=63)], ...], Field(max_length=32)] = ()
    """Values for In and NotIn."""


class LabelSelector(Model):
    """As in a NetworkPolicy; an empty one selects everything."""

    match_labels: Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=16)] = {}
    """Labels that must have these values."""
    match_expressions: Annotated[tuple[LabelRequirement, ...], Field(max_length=16)] = ()
    """Further requirements."""


class IpBlock(Model):
    """As in a NetworkPolicy."""

    cidr: Network
    """Addresses."""
    except_: Annotated[tuple[Network, ...], Field(max_length=16, alias="except")] = ()
    """Addresses among them that are meant not to be."""


class Peer(Model):
    """As in a NetworkPolicy: addresses, or pods by their labels and those of their namespace."""

    pod_selector: LabelSelector | None = None
    """Pods, in this namespace unless `namespaceSelector` says otherwise."""
    namespace_selector: LabelSelector | None = None
    """Namespaces whose pods are meant."""
    ip_block: IpBlock | None = None
    """Addresses outside of the cluster."""

    rules = (
        Rule(
            cel="has(self.ipBlock) != (has(self.podSelector) || has(self.namespaceSelector))",
            holds=lambda self: (self.ip_block is None) == any((self.pod_selector, self.namespace_selector)),
            message="a peer is either an ipBlock or a podSelector, a namespaceSelector or both; keep one of them",
        ),
    )


class Protocol(StrEnum):
    """Transport protocol."""

    TCP = "TCP"
    UDP = "UDP"
    SCTP = "SCTP"


class Port(Model):
    """As in a NetworkPolicy."""

    port: PortReference | None = None
    """Number, or name in the pod; every port if unset."""
    end_port: Annotated[int, Field(ge=1, le=_MOST_PORT)] | None = None
    """Last port of a range that begins at `port`, which is a number then."""
    protocol: Protocol = Protocol.TCP
    """Transport protocol."""

    rules = (
        Rule(
            cel="!has(self.endPort) || (has(self.port) && type(self.port) == int && self.port <= self.endPort)",
            holds=lambda self: self.end_port is None or (isinstance(self.port, int) and self.port <= self.end_port),
            message="endPort needs a port that is a number and not above it; set port to the first of the range",
            path=".endPort",
        ),
    )


Ports = Annotated[tuple[Port, ...], Field(max_length=32)]
Peers = Annotated[tuple[Peer, ...], Field(max_length=32)]


class IngressRule(Model):
    """As in a NetworkPolicy."""

    from_: Annotated[Peers, Field(alias="from")] = ()
    """Who may reach the pods; everyone if empty."""
    ports: Ports = ()
    """On which ports; on all if empty."""


class EgressRule(Model):
    """As in a NetworkPolicy."""

    to: Peers = ()
    """Whom the pods may reach; everyone if empty."""
    ports: Ports = ()
    """On which ports; on all if empty."""


class NetworkPolicy(Model):
    """What the pods may be reached by and may reach, where a network plugin enforces it.

    In: port 8000. Out: name lookups (ports 53 and 5353), and port 443 where weights come from the hub.
    """

    enabled: bool = True
    """Make the policy. False leaves it to policies of yours."""
    extra_ingress: Annotated[tuple[IngressRule, ...], Field(max_length=32)] = ()
    """Further ingress rules, to a sidecar's port for instance."""
    extra_egress: Annotated[tuple[EgressRule, ...], Field(max_length=32)] = ()
    """Further egress rules, to a proxy, a mirror of the hub or a trace collector for instance."""


def as_written(rule: IngressRule | EgressRule) -> dict[str, Any]:
    """The rule as a NetworkPolicy has it, without what it leaves to the defaults."""
    return rule.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
