"""containerd, kubelet and kube-proxy of one node, and the GPUs that it reports."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.cluster import cgroups, tools
from tests.cluster.controlplane import kubectl
from tests.cluster.credentials import certificates
from tests.cluster.layout import Layout, Node
from tests.cluster.places import say
from tests.cluster.processes import Ledger, run
from tests.cluster.systemimages import PAUSE

GPUS: Final = 8
LABELS: Final = {"nvidia.com/gpu.product": "NVIDIA-H200", "nvidia.com/gpu.count": str(GPUS)}
READY_LIMIT_SECONDS: Final = 90.0
IMPORT_LIMIT_SECONDS: Final = 600.0


def start_runtime(node: Node, ledger: Ledger, inside: Sequence[str]) -> None:
    """Start containerd and wait until it answers."""
    cgroups.make(node.cgroup)
    network = node.folder / "cni" / "10-bridge.conflist"
    _write(network, json.dumps(_pod_network(node)))
    config = _write(node.folder / "containerd.toml", _containerd(node, network.parent))
    ledger.start(f"{node.name}-containerd", *inside, "containerd", "--config", config)

    def answers() -> bool:
        return "Server:" in ctr(node, "version", check=False)

    ledger.wait(f"{node.name}: containerd answers", answers)


def ctr(node: Node, *arguments: str | Path, check: bool = True, limit: float = 60.0) -> str:
    """The output of containerd's client for the pods' images and containers."""
    return run("ctr", "--address", node.socket, "--namespace", "k8s.io", *arguments, check=check, limit=limit)


def load(node: Node, archives: Sequence[Path]) -> None:
    """Import each archive that this node does not have yet; archives are named `<image>-<key of the content>.tar`."""
    record = node.image_store / "imported.json"
    known: dict[str, str] = json.loads(record.read_text()) if record.exists() else {}
    for archive in archives:
        image, _, key = archive.stem.rpartition("-")
        if known.get(image) != key:
            ctr(node, "images", "import", archive, limit=IMPORT_LIMIT_SECONDS)
            known[image] = key
            say(f"  {node.name}: image {archive.stem}")
    _write(record, json.dumps(known))


def start_kubelet(layout: Layout, node: Node, ledger: Ledger, inside: Sequence[str]) -> None:
    """Start the kubelet alone; also the way back after `ledger.stop`."""
    config = _write(node.folder / "kubelet.json", json.dumps(_kubelet(layout, node)))
    ledger.start(
        f"{node.name}-kubelet",
        *inside,
        tools.path("kubelet"),
        f"--config={config}",
        f"--kubeconfig={layout.identity(node.name)}",
        f"--root-dir={node.folder}/kubelet",
        f"--cert-dir={node.folder}/kubelet/pki",
        f"--hostname-override={node.name}",
        f"--node-ip={node.address}",
        f"--node-labels={','.join(f'{key}={value}' for key, value in LABELS.items())}",
    )


def start_proxy(layout: Layout, node: Node, ledger: Ledger, inside: Sequence[str]) -> None:
    """Start kube-proxy."""
    config = _write(node.folder / "kube-proxy.json", json.dumps(_proxy(layout, node)))
    ledger.start(f"{node.name}-kube-proxy", *inside, tools.path("kube-proxy"), f"--config={config}")


def wait_ready(layout: Layout, node: Node, ledger: Ledger) -> None:
    """Return once the node is Ready."""
    path = 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'

    def ready() -> bool:
        return kubectl(layout, "get", "node", node.name, "-o", path, check=False) == "True"

    ledger.wait(f"{node.name}: Ready", ready, READY_LIMIT_SECONDS)


def add_gpus(layout: Layout, name: str) -> None:
    """Let the node report its GPUs. The kubelet keeps a resource that it does not know, also over a restart."""
    count = {"nvidia.com/gpu": str(GPUS)}
    patch = json.dumps({"status": {"capacity": count, "allocatable": count}})
    kubectl(layout, "patch", "node", name, "--subresource=status", "--type=merge", "-p", patch)


def _pod_network(node: Node) -> dict[str, Any]:
    addresses = {
        "type": "host-local",
        "dataDir": str(node.folder / "addresses"),
        "ranges": [[{"subnet": node.pods}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": "pods", "isGateway": True, "ipMasq": False, "hairpinMode": True}
    return {
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [{**bridge, "ipam": addresses}, {"type": "portmap", "capabilities": {"portMappings": True}}],
    }


def _containerd(node: Node, network: Path) -> str:
    unused = ("snapshotter.v1.btrfs", "snapshotter.v1.zfs", "snapshotter.v1.aufs", "snapshotter.v1.devmapper")
    disabled = [f"io.containerd.{plugin}" for plugin in (*unused, "internal.v1.opt")]
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    # restrict_oom_score_adj: where CAP_SYS_RESOURCE is missing, sandboxes would fail with
    # "can't get final child's PID from pipe: EOF".
    return f"""version = 2
root = "{node.image_store}/containerd"
state = "{node.folder}/containerd"
disabled_plugins = {json.dumps(disabled)}
[grpc]
  address = "{node.socket}"
[{cri}]
  sandbox_image = "{PAUSE}"
  disable_apparmor = true
  restrict_oom_score_adj = true
[{cri}.cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "{network}"
[{cri}.containerd]
  snapshotter = "overlayfs"
  default_runtime_name = "runc"
[{cri}.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[{cri}.containerd.runtimes.runc.options]
  SystemdCgroup = false
"""


def _kubelet(layout: Layout, node: Node) -> dict[str, Any]:
    resolver = _write(node.folder / "resolv.conf", "nameserver 127.0.0.1\n")
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{certificates(layout)}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{node.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "protectKernelDefaults": True,
        "clusterDNS": [layout.dns],
        "clusterDomain": "cluster.local",
        "resolvConf": str(resolver),
        "containerRuntimeEndpoint": f"unix://{node.socket}",
        "podLogsDir": f"{node.folder}/pod-logs",
        "volumePluginDir": f"{node.folder}/volume-plugins",
        "staticPodPath": "",
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "nodeStatusUpdateFrequency": "2s",
        "maxPods": 200,
    }


def _proxy(layout: Layout, node: Node) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clusterCIDR": layout.pods,
        "hostnameOverride": node.name,
        "clientConnection": {"kubeconfig": str(layout.identity("kube-proxy"))},
        # leave the machine's connection tracking as it is
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
