"""A Kubernetes cluster of real nodes on this machine, without Docker, systemd or an image registry.

Everything it starts is in one tree of control groups and in namespaces of its own; everything it writes is in its
state folder. `down` ends the one and empties the other, but for the nodes' image stores (`wipe` takes those too).
"""

import json
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tests.cluster import cgroups, controlplane, credentials, dns, network, nodes, packages
from tests.cluster.controlplane import ControlPlane
from tests.cluster.layout import Layout, Node
from tests.cluster.places import ClusterError, say, state_dir
from tests.cluster.processes import Ledger
from tests.cluster.systemimages import system_images

_KEPT: Final = "images"


def up(name: str, count: int, settings: ControlPlane) -> Layout:
    """Bring the cluster up, or leave it be where it runs; one that is half dead starts anew.

    Raises ClusterError where it runs with other settings: what is on it would be lost.
    """
    if (running := find(name)) is not None:
        daemons = ledger(running)
        if daemons.daemons() and not daemons.dead():
            kept, wanted = _record(running.state) or {}, _wanted(running.number, count, settings)
            if differing := [f"{key} {kept[key]} instead of {wanted[key]}" for key in kept if kept[key] != wanted[key]]:
                raise ClusterError(f"cluster {name} runs with {', '.join(differing)}; `make cluster-down` first")
            say(f"cluster {name} is up already")
            return running
        down(name)
    _check_machine()
    images = list(system_images().values())
    say(f"starting cluster {name}: {count} nodes")
    layout = _claim(name, count, settings)
    try:
        _start(layout, settings, images)
    except BaseException:
        say(f"cluster {name} did not come up; logs stay in {layout.logs} until the next start")
        _end(layout)
        raise
    return layout


def down(name: str, *, wipe: bool = False) -> None:
    """End the cluster and remove what it wrote; fine when there is none."""
    layout = find(name)
    if layout is not None:
        _end(layout)
        _clear(layout)
    elif cgroups.exists(group := Layout(name, 0, 0, state_dir(name)).cgroup):
        # its state folder was lost; the control groups still know all its processes, and its cable ends with them
        cgroups.kill(group)
        cgroups.remove(group)
    if wipe:
        shutil.rmtree(state_dir(name), ignore_errors=True)


def find(name: str) -> Layout | None:
    """The cluster of this name, as it was started, or None."""
    state = state_dir(name)
    kept = _record(state)
    return Layout(name, int(kept["number"]), int(kept["count"]), state) if kept else None


def ledger(layout: Layout) -> Ledger:
    """The daemons of a cluster."""
    return Ledger(layout.state, cgroups.daemon_group(layout.cgroup))


def load(layout: Layout, archives: Sequence[Path]) -> None:
    """Import image archives into each node, all nodes at once: unpacking a large image takes one core a minute."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda node: nodes.load(node, archives), layout.nodes))


def restart_kubelet(layout: Layout, node: Node) -> None:
    """End one kubelet and start it again; its pods keep running."""
    daemons = ledger(layout)
    daemons.stop(f"{node.name}-kubelet")
    nodes.start_kubelet(layout, node, daemons, inside(layout, node))
    nodes.wait_ready(layout, node, daemons)


def inside(layout: Layout, node: Node) -> list[str]:
    """The prefix that runs a command in the node's namespaces."""
    return network.enter(ledger(layout).daemons()[f"{node.name}-namespaces"])


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise ClusterError(
            "CLUSTER=local needs root: it makes namespaces and control groups. Use sudo, or CLUSTER=kind."
        )
    packages.install("local")


def _wanted(number: int, count: int, settings: ControlPlane) -> dict[str, int | str]:
    return {"number": number, "count": count, "audit": settings.audit, "qps": settings.qps}


def _record(state: Path) -> dict[str, int | str] | None:
    """How the cluster was started, or None."""
    file = state / "cluster.json"
    return json.loads(file.read_text()) if file.exists() else None


def _claim(name: str, count: int, settings: ControlPlane) -> Layout:
    """Take a free number, clear what an earlier cluster left, and lay the host's cable."""
    state = state_dir(name)
    for folder in network.PRIVATE_FOLDERS:
        if state.is_relative_to(folder):
            raise ClusterError(
                f"the state folder {state} is below {folder}, which nodes do not share; set CLUSTER_STATE"
            )
    with network.free_number() as number:
        layout = Layout(name, number, count, state)
        _clear(layout)
        layout.logs.mkdir(parents=True, exist_ok=True)
        (state / "cluster.json").write_text(json.dumps(_wanted(number, count, settings)))
        network.connect_host(layout, ledger(layout))
    return layout


def _start(layout: Layout, settings: ControlPlane, images: Sequence[Path]) -> None:
    daemons = ledger(layout)
    prefixes = {node: network.enter(network.connect_node(layout, node, daemons)) for node in layout.nodes}
    credentials.issue(layout)
    controlplane.start(layout, settings, daemons, prefixes[layout.nodes[0]])
    for node, prefix in prefixes.items():
        nodes.start_runtime(node, daemons, prefix)
        nodes.load(node, images)
        nodes.start_kubelet(layout, node, daemons, prefix)
        nodes.start_proxy(layout, node, daemons, prefix)
    for node in layout.nodes:
        nodes.wait_ready(layout, node, daemons)
        nodes.add_gpus(layout, node.name)
    dns.install(layout)


def _end(layout: Layout) -> None:
    """End all processes; what the image stores know of containers goes first, so that they can be used again."""
    daemons = ledger(layout)
    for node in layout.nodes:
        daemons.stop(f"{node.name}-kubelet", limit=5)
        cgroups.kill(f"{node.cgroup}/kubepods")
        if f"{node.name}-containerd" in daemons.daemons():
            _forget_containers(node)
    cgroups.kill(layout.cgroup)
    cgroups.remove(layout.cgroup)
    network.disconnect(layout)


def _forget_containers(node: Node) -> None:
    try:
        for kind in ("tasks", "containers"):
            if names := nodes.ctr(node, kind, "list", "--quiet").split():
                nodes.ctr(node, kind, "delete", *(["--force"] if kind == "tasks" else []), *names)
    except ClusterError as error:  # a runtime that cannot even list leaves a store that is not to be trusted
        say(f"  {node.name}: dropping the image store ({error})")
        shutil.rmtree(node.image_store, ignore_errors=True)


def _clear(layout: Layout) -> None:
    for entry in layout.state.iterdir() if layout.state.exists() else ():
        if entry.name != _KEPT:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
