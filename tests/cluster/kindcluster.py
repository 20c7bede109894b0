"""A kind cluster: the real `kind create cluster`, on a node image that it pulls or that is made here.

The control plane's node takes pods too, so two nodes are two GPU nodes, as in the local cluster.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.cluster import cgroups, engine, network, nodeimage, nodes, packages, systemimages, tools
from tests.cluster.engine import Engine
from tests.cluster.layout import Layout
from tests.cluster.places import ClusterError, say, state_dir
from tests.cluster.processes import Ledger, becomes, run

CREATE_LIMIT_SECONDS: Final = 600.0
LOAD_LIMIT_SECONDS: Final = 600.0
READY_LIMIT_SECONDS: Final = 120.0
API_PORT: Final = 6443
_KEPT: Final = "images"


def up(name: str, count: int) -> Path:
    """Bring the cluster up, or leave it be where it runs; its kubeconfig."""
    if (running := kubeconfig(name)) is not None and _answers(running):
        say(f"kind cluster {name} is up already")
        return running
    down(name)
    tools.path("kind")
    chosen, layout = engine.machines_own(), None
    state = state_dir(name)
    state.mkdir(parents=True, exist_ok=True)
    try:
        if chosen is None:
            layout = _claim(name)
            chosen = engine.start(layout, _daemons(layout))
            # the store may remember a cluster that was cut off, and a network with another cluster number
            _delete(name, chosen)
            chosen.docker("network", "rm", "kind", check=False)
        _create(name, count, chosen, layout)
    except BaseException:
        say(f"kind cluster {name} did not come up; logs stay in {state / 'logs'}")
        raise
    return _kubeconfig_file(name)


def down(name: str, *, wipe: bool = False) -> None:
    """Delete the cluster, and end the container engine where it is ours."""
    state = state_dir(name)
    layout = _layout(name)
    if layout is not None and cgroups.exists(layout.cgroup):
        cgroups.kill(engine.containers_group(layout))
        own = Engine(f"unix://{engine.socket(layout)}", own=True)
        _delete(name, own)
        _daemons(layout).stop("dockerd", limit=20)
        cgroups.kill(layout.cgroup)
        cgroups.remove(layout.cgroup)
        network.disconnect(layout)
    # kind writes the kubeconfig only once all is up; its nodes may be there from when it was called
    elif layout is None and _configuration_file(name).exists() and (machines := engine.machines_own()):
        _delete(name, machines)
    for entry in state.iterdir() if state.exists() else ():
        if wipe or entry.name != _KEPT:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    if wipe:
        shutil.rmtree(state, ignore_errors=True)


def kubeconfig(name: str) -> Path | None:
    """The administrator's kubeconfig of a cluster that was created, or None."""
    file = _kubeconfig_file(name)
    return file if file.exists() else None


def load(name: str, archives: Sequence[Path]) -> None:
    """Import image archives into each node."""
    chosen = _engine(name)
    for archive in archives:
        _kind(chosen, "load", "image-archive", str(archive), "--name", name, limit=LOAD_LIMIT_SECONDS)
        say(f"  loaded {archive.stem}")


def configuration(count: int, layout: Layout | None, own_image: bool) -> dict[str, Any]:
    """kind's configuration: `count` nodes; on an engine of our own (`layout`), with addresses that the host reaches."""
    patches = [_patch("KubeletConfiguration", failCgroupV1=False, imageGCHighThresholdPercent=100)]
    roles = ["control-plane", *["worker"] * (count - 1)]
    networking: dict[str, Any] = {"disableDefaultCNI": own_image}
    if layout is not None:
        networking |= {"podSubnet": layout.pods, "serviceSubnet": layout.services}
        networking |= {"apiServerAddress": layout.nodes[0].address, "apiServerPort": API_PORT}
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "networking": networking,
        "nodes": [{"role": role, "labels": nodes.LABELS} for role in roles],
        "kubeadmConfigPatches": patches,
    }


def _patch(kind: str, **settings: object) -> str:
    return json.dumps({"kind": kind, "apiVersion": "kubelet.config.k8s.io/v1beta1", **settings})


def _create(name: str, count: int, chosen: Engine, layout: Layout | None) -> None:
    image, own_image = _node_image(chosen)
    config = _configuration_file(name)
    config.write_text(json.dumps(configuration(count, layout, own_image)))
    target = _kubeconfig_file(name)
    options = ["--config", str(config), "--image", image, "--kubeconfig", str(target), "--wait", "120s", "--retain"]
    _kind(chosen, "create", "cluster", "--name", name, *options, limit=CREATE_LIMIT_SECONDS)
    if layout is not None:
        addresses = ("-o", "jsonpath={.items[*].status.addresses[?(@.type=='InternalIP')].address}")
        engine.open_ways(layout, _daemons(layout), _kubectl(name, "get", "nodes", *addresses).split())
    _finish(name, count)
    load(name, [systemimages.busybox(systemimages.BUSYBOX)])


def _finish(name: str, count: int) -> None:
    """Let the control plane's node take pods, and give each node its GPUs."""
    _kubectl(name, "taint", "nodes", "--all", "node-role.kubernetes.io/control-plane:NoSchedule-", check=False)
    found = _kubectl(name, "get", "nodes", "-o", "jsonpath={.items[*].metadata.name}").split()
    if len(found) != count:
        raise ClusterError(f"kind made {len(found)} nodes instead of {count}: {' '.join(found)}")
    for node in found:
        count_of_gpus = {"nvidia.com/gpu": str(nodes.GPUS)}
        patch = json.dumps({"status": {"capacity": count_of_gpus, "allocatable": count_of_gpus}})
        _kubectl(name, "patch", "node", node, "--subresource=status", "--type=merge", "-p", patch)
    _kubectl(name, "wait", "--for=condition=Ready", "nodes", "--all", f"--timeout={READY_LIMIT_SECONDS:.0f}s")
    dns = ("-n", "kube-system", "rollout", "status", "deployment/coredns")
    _kubectl(name, *dns, f"--timeout={READY_LIMIT_SECONDS:.0f}s")


def _node_image(chosen: Engine) -> tuple[str, bool]:
    """The node image to use, and whether it is one made here."""
    if not chosen.own and chosen.pull(default := _default_image()):
        return default, False
    own = nodeimage.reference()
    if not chosen.docker("image", "ls", "--quiet", own, check=False).strip():
        packages.install("kind")
        archive = nodeimage.archive()
        say("importing kind's node image into the container engine")
        changes = (f"ENTRYPOINT {json.dumps(nodeimage.ENTRYPOINT)}", "ENV container=docker")
        options = [word for change in changes for word in ("--change", change)]
        chosen.docker("import", *options, archive, own, limit=LOAD_LIMIT_SECONDS)
        repository = own.partition(":")[0]
        tags = chosen.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", repository).split()
        if earlier := [tag for tag in tags if tag != own]:
            chosen.docker("image", "rm", *earlier, check=False)
    return own, True


def _default_image() -> str:
    """The node image that this release of kind names, by digest."""
    folder = tools.module_folder("kind", "sigs.k8s.io/kind")
    text = (folder / "pkg" / "apis" / "config" / "defaults" / "image.go").read_text()
    if (found := re.search(r'const Image = "([^"]+)"', text)) is None:
        raise ClusterError("this release of kind does not say which node image it wants; set another in go/kind/go.mod")
    return found[1]


def _claim(name: str) -> Layout:
    with network.free_number() as number:
        layout = Layout(name, number, 1, state_dir(name))
        (layout.state / "engine.json").write_text(json.dumps({"number": number}))
        network.connect_host(layout, _daemons(layout))
    return layout


def _layout(name: str) -> Layout | None:
    """Names and addresses of our own engine, or None where the machine's is used."""
    record = state_dir(name) / "engine.json"
    if not record.exists():
        return None
    return Layout(name, json.loads(record.read_text())["number"], 1, state_dir(name))


def _engine(name: str) -> Engine:
    if (layout := _layout(name)) is not None:
        return Engine(f"unix://{engine.socket(layout)}", own=True)
    if (machines := engine.machines_own()) is None:
        raise ClusterError(f"no container engine runs kind cluster {name}; `make cluster-up CLUSTER=kind` starts it")
    return machines


def _daemons(layout: Layout) -> Ledger:
    return Ledger(layout.state, cgroups.daemon_group(layout.cgroup))


def _configuration_file(name: str) -> Path:
    return state_dir(name) / "kind.json"


def _kubeconfig_file(name: str) -> Path:
    return state_dir(name) / "kubeconfig"


def _kubectl(name: str, *arguments: str, check: bool = True) -> str:
    kubectl, kubeconfig = tools.path("kubectl"), f"--kubeconfig={_kubeconfig_file(name)}"
    return run(kubectl, kubeconfig, *arguments, check=check, limit=READY_LIMIT_SECONDS + 30)


def _answers(file: Path) -> bool:
    ready = ("get", "--raw", "/readyz", "--request-timeout=5s")
    return becomes(lambda: run(tools.path("kubectl"), f"--kubeconfig={file}", *ready, check=False) == "ok", 5.0)


def _delete(name: str, chosen: Engine) -> None:
    try:
        _kind(chosen, "delete", "cluster", "--name", name, "--kubeconfig", str(_kubeconfig_file(name)), limit=120.0)
    except ClusterError as error:  # what is left ends with the engine, or was not there
        say(f"  kind delete: {error}")


def _kind(chosen: Engine, *arguments: str, limit: float) -> None:
    command = [str(tools.path("kind")), *arguments]
    try:
        done = subprocess.run(
            command, check=False, env=chosen.environment(), capture_output=True, text=True, timeout=limit
        )
    except subprocess.TimeoutExpired:
        raise ClusterError(f"{' '.join(command)} took longer than {limit:.0f} s") from None
    if done.returncode != 0:
        raise ClusterError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-6000:]}")
