"""CoreDNS for the local cluster: names of Services and pods; any other name does not exist."""

from typing import Any, Final

from tests.cluster.controlplane import apply, kubectl
from tests.cluster.layout import Layout
from tests.cluster.systemimages import COREDNS

ROLLOUT_LIMIT: Final = "90s"
# The catch-all is a server block of its own: inside the first one, `template` would run before `kubernetes`.
COREFILE: Final = """cluster.local:53 in-addr.arpa:53 ip6.arpa:53 {
    errors
    health {
        lameduck 1s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        ttl 5
    }
    cache 5
    loadbalance
}
.:53 {
    template ANY ANY {
        rcode NXDOMAIN
    }
}
"""
_NAME: Final = {"name": "coredns", "namespace": "kube-system"}
_LABELS: Final = {"k8s-app": "kube-dns"}


def install(layout: Layout) -> None:
    """Apply CoreDNS and wait until it serves."""
    apply(layout, [*_access(), _settings(), _deployment(), _service(layout.dns)])
    kubectl(layout, "-n", "kube-system", "rollout", "status", "deployment/coredns", f"--timeout={ROLLOUT_LIMIT}")


def _access() -> list[dict[str, Any]]:
    group = "rbac.authorization.k8s.io"
    rules = [
        {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    role = {"name": "system:coredns"}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _NAME},
        {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": role, "rules": rules},
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": role,
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", **role},
            "subjects": [{"kind": "ServiceAccount", **_NAME}],
        },
    ]


def _settings() -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _NAME, "data": {"Corefile": COREFILE}}


def _deployment() -> dict[str, Any]:
    container = {
        "name": "coredns",
        "image": COREDNS,
        "imagePullPolicy": "Never",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "ports": [
            {"name": "dns", "containerPort": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
        ],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns"}],
    }
    pod = {
        "serviceAccountName": "coredns",
        "priorityClassName": "system-cluster-critical",
        "dnsPolicy": "Default",
        "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {**_NAME, "labels": _LABELS},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": _LABELS},
            "template": {"metadata": {"labels": _LABELS}, "spec": pod},
        },
    }


def _service(address: str) -> dict[str, Any]:
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": _LABELS},
        "spec": {"clusterIP": address, "selector": _LABELS, "ports": ports},
    }
