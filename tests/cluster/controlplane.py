"""etcd, kube-apiserver, kube-controller-manager and kube-scheduler, in the first node's network."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from tests.cluster import tools
from tests.cluster.credentials import certificates
from tests.cluster.layout import Layout
from tests.cluster.processes import Ledger, run

Audit = Literal["off", "writes", "all"]
READY_LIMIT_SECONDS: Final = 120.0
_WRITES: Final = ["create", "update", "patch", "delete", "deletecollection"]


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """Settings of the control plane.

    audit: which requests the audit log notes. qps: requests a second that controller-manager and scheduler may send.
    """

    audit: Audit = "writes"
    qps: int = 200


def kubectl(layout: Layout, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
    """The output of kubectl as administrator."""
    return run(tools.path("kubectl"), f"--kubeconfig={layout.kubeconfig}", *arguments, stdin=stdin, check=check)


def apply(layout: Layout, objects: Sequence[dict[str, Any]]) -> None:
    """Apply `objects`, server-side."""
    listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
    kubectl(layout, "apply", "--server-side", "-f", "-", stdin=json.dumps(listed))


def start(layout: Layout, settings: ControlPlane, ledger: Ledger, inside: Sequence[str]) -> None:
    """Start all four; returns once the API answers and its roles for nodes and administrators are there."""
    start_etcd(layout, ledger, inside)
    start_api_server(layout, settings, ledger, inside)
    start_controllers(layout, settings, ledger, inside)
    apply(layout, [_grant("kubelet-api", "system:kubelet-api-admin", "User", "kube-apiserver-kubelet-client")])


def start_etcd(layout: Layout, ledger: Ledger, inside: Sequence[str]) -> None:
    client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
    ledger.start(
        "etcd",
        *inside,
        tools.path("etcd"),
        f"--data-dir={layout.state}/etcd",
        "--unsafe-no-fsync",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--log-level=warn",
    )


def start_api_server(layout: Layout, settings: ControlPlane, ledger: Ledger, inside: Sequence[str]) -> None:
    """Start kube-apiserver and wait for it."""
    ledger.start("kube-apiserver", *inside, tools.path("kube-apiserver"), *_api_server_options(layout, settings))

    def ready() -> bool:
        return kubectl(layout, "get", "--raw", "/readyz", "--request-timeout=5s", check=False) == "ok"

    ledger.wait("the API server is ready", ready, READY_LIMIT_SECONDS)


def _api_server_options(layout: Layout, settings: ControlPlane) -> list[str]:
    keys = certificates(layout)
    return [
        f"--advertise-address={layout.nodes[0].address}",
        "--secure-port=6443",
        "--etcd-servers=http://127.0.0.1:2379",
        f"--service-cluster-ip-range={layout.services}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--client-ca-file={keys}/ca.crt",
        f"--tls-cert-file={keys}/apiserver.crt",
        f"--tls-private-key-file={keys}/apiserver.key",
        f"--kubelet-client-certificate={keys}/apiserver-kubelet-client.crt",
        f"--kubelet-client-key={keys}/apiserver-kubelet-client.key",
        "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={keys}/sa.pub",
        f"--service-account-signing-key-file={keys}/sa.key",
        f"--requestheader-client-ca-file={keys}/front-proxy-ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={keys}/front-proxy-client.crt",
        f"--proxy-client-key-file={keys}/front-proxy-client.key",
        *_audit_options(layout, settings.audit),
    ]


def audit_log(layout: Layout) -> Path:
    """Where the audit log is: one JSON event a line."""
    return layout.state / "audit.log"


def _audit_options(layout: Layout, audit: Audit) -> list[str]:
    if audit == "off":
        return []
    rule: dict[str, object] = {"level": "Metadata"}
    if audit == "writes":
        rule["verbs"] = _WRITES
    policy = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [rule],
    }
    file = layout.state / "audit-policy.json"
    file.write_text(json.dumps(policy))
    return [
        f"--audit-policy-file={file}",
        f"--audit-log-path={audit_log(layout)}",
        "--audit-log-maxsize=200",
        "--audit-log-maxbackup=3",
    ]


def start_controllers(layout: Layout, settings: ControlPlane, ledger: Ledger, inside: Sequence[str]) -> None:
    """Start controller-manager and scheduler."""
    keys = certificates(layout)
    rate = [f"--kube-api-qps={settings.qps}", f"--kube-api-burst={settings.qps * 2}"]
    for name in ("kube-controller-manager", "kube-scheduler"):
        identity = layout.identity(name.removeprefix("kube-"))
        options = [
            *(f"--{use}kubeconfig={identity}" for use in ("", "authentication-", "authorization-")),
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            f"--requestheader-client-ca-file={keys}/front-proxy-ca.crt",
            *rate,
        ]
        if name == "kube-controller-manager":
            options += [
                f"--client-ca-file={keys}/ca.crt",
                f"--cluster-signing-cert-file={keys}/ca.crt",
                f"--cluster-signing-key-file={keys}/ca.key",
                f"--root-ca-file={keys}/ca.crt",
                f"--service-account-private-key-file={keys}/sa.key",
                "--use-service-account-credentials=true",
                "--allocate-node-cidrs=false",
            ]
        ledger.start(name, *inside, tools.path(name), *options)


def _grant(name: str, role: str, kind: str, subject: str) -> dict[str, Any]:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"test-cluster:{name}"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": group, "kind": kind, "name": subject}],
    }
