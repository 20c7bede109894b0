"""Certificates and kubeconfigs of one cluster, made by kubeadm's phases; they last as long as the cluster runs."""

import json
from pathlib import Path

from tests.cluster import tools
from tests.cluster.layout import Layout
from tests.cluster.processes import run


def certificates(layout: Layout) -> Path:
    """The folder of certificates and keys."""
    return layout.state / "certificates"


def issue(layout: Layout) -> None:
    """Make the authorities, all certificates, and a kubeconfig for each component and node."""
    kubeadm = tools.path("kubeadm")
    config = layout.state / "kubeadm.yaml"
    config.write_text("".join(f"---\n{json.dumps(part)}\n" for part in _configuration(layout)))
    run(kubeadm, "init", "phase", "certs", "all", "--config", config)
    folder = layout.identity("any").parent
    folder.mkdir(exist_ok=True)
    run(kubeadm, "init", "phase", "kubeconfig", "all", "--config", config, "--kubeconfig-dir", folder)
    users = {"kube-proxy": ("system:kube-proxy", "system:node-proxier")}
    users |= {node.name: (f"system:node:{node.name}", "system:nodes") for node in layout.nodes}
    for user, (name, group) in users.items():
        content = run(kubeadm, "kubeconfig", "user", "--client-name", name, "--org", group, "--config", config)
        layout.identity(user).write_text(content)
    for file in folder.iterdir():
        file.chmod(0o600)


def _configuration(layout: Layout) -> list[dict[str, object]]:
    version = "kubeadm.k8s.io/v1beta4"
    first = layout.nodes[0]
    return [
        {
            "apiVersion": version,
            "kind": "InitConfiguration",
            "localAPIEndpoint": {"advertiseAddress": first.address, "bindPort": 6443},
            "nodeRegistration": {"name": first.name},
        },
        {
            "apiVersion": version,
            "kind": "ClusterConfiguration",
            "kubernetesVersion": tools.KUBERNETES_VERSION,
            "clusterName": layout.name,
            "certificatesDir": str(certificates(layout)),
            "encryptionAlgorithm": "ECDSA-P256",
            "networking": {"serviceSubnet": layout.services, "podSubnet": layout.pods},
            "apiServer": {"certSANs": ["localhost", "127.0.0.1"]},
        },
    ]
