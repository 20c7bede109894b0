"""What an operator process is told at its start: flags of `specdec run`, each also readable from SPECDEC_*."""

from __future__ import annotations

import os
import secrets
import socket
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast

from specdec.controllers.logs import LEVELS

SERVICE_ACCOUNT_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
PREFIX: Final = "SPECDEC_"


@dataclass(frozen=True, slots=True)
class Settings:
    """namespaces: those to serve, empty for the whole cluster. identity: ours among the replicas.

    lease_namespace, lease_name: where the replicas agree on who acts; leader_election False acts at once, alone.
    """

    namespaces: tuple[str, ...]
    lease_namespace: str
    lease_name: str
    identity: str
    leader_election: bool = True
    health_port: int = 8080
    metrics_port: int = 9090
    kubeconfig: Path | None = None
    context: str | None = None
    log_level: str = "info"
    log_format: Literal["json", "console"] = "json"


def add_arguments(parser: ArgumentParser, environment: Mapping[str, str] = os.environ) -> None:
    """The flags of `specdec run`; a flag wins over its environment variable."""

    def default(name: str, otherwise: str | None = None) -> str | None:
        return environment.get(PREFIX + name, otherwise)

    def flag(name: str, text: str, otherwise: str | None = None, words: Sequence[str] = (), **more: object) -> None:
        variable = name.upper().replace("-", "_")
        if words:
            more |= {"type": _one_of(words), "metavar": f"{{{','.join(words)}}}"}
        parser.add_argument(
            f"--{name}",
            default=default(variable, otherwise),
            help=f"{text} [{PREFIX}{variable}; default: {otherwise or 'none'}]",
            **more,  # type: ignore[arg-type]
        )

    parser.add_argument(
        "--namespace",
        action="append",
        dest="namespaces",
        metavar="NAME",
        help=f"a namespace to serve, may be repeated [{PREFIX}NAMESPACES, comma-separated; default: the whole cluster]",
    )
    parser.set_defaults(environment_namespaces=default("NAMESPACES", ""))
    flag("lease-namespace", "namespace of the Lease", environment.get("POD_NAMESPACE") or _own_namespace())
    flag("lease-name", "name of the Lease that the replicas share", "specdec-operator")
    flag("leader-election", "whether to act only while holding the Lease", "true", ("true", "false"))
    flag("health-port", "port of /healthz, 0 for none", "8080", type=int)
    flag("metrics-port", "port of /metrics, 0 for none", "9090", type=int)
    flag("kubeconfig", "kubeconfig to use instead of the pod's service account or $KUBECONFIG", type=Path)
    flag("context", "context of the kubeconfig")
    flag("log-level", "least severe messages to write", "info", LEVELS)
    flag("log-format", "json for a log collector, console for people", "json", ("json", "console"))


def from_arguments(arguments: Namespace, environment: Mapping[str, str] = os.environ) -> Settings:
    """The parsed flags as settings."""
    from_environment = [name.strip() for name in arguments.environment_namespaces.split(",") if name.strip()]
    pod = environment.get("POD_NAME") or socket.gethostname()
    return Settings(
        namespaces=tuple(dict.fromkeys(arguments.namespaces or from_environment)),
        lease_namespace=arguments.lease_namespace,
        lease_name=arguments.lease_name,
        # A container restarted in its pod is another holder: it must not take its dead self for alive.
        identity=f"{pod}_{secrets.token_hex(4)}",
        leader_election=arguments.leader_election == "true",
        health_port=int(arguments.health_port),
        metrics_port=int(arguments.metrics_port),
        kubeconfig=Path(arguments.kubeconfig) if arguments.kubeconfig else None,
        context=arguments.context,
        log_level=arguments.log_level,
        log_format=cast(Literal["json", "console"], arguments.log_format),
    )


def _one_of(words: Sequence[str]) -> Callable[[str], str]:
    """A type where `choices` would do, were they not left unchecked in what a variable holds."""

    def word(text: str) -> str:
        if text not in words:
            raise ArgumentTypeError(f"{text!r} is not known; set one of: {', '.join(words)}")
        return text

    return word


def _own_namespace() -> str:
    return SERVICE_ACCOUNT_NAMESPACE.read_text().strip() if SERVICE_ACCOUNT_NAMESPACE.exists() else "default"
