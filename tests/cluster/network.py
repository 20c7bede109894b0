"""The wires: a switch in a network namespace of its own, a cable to each node and one to the host.

The host gets one interface and one route per network, nothing else: no bridge that its firewall could filter, no
forwarding, no address translation. Nodes reach each other and the host, and nothing beyond.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.cluster.layout import FIRST_NUMBER, LAST_NUMBER, Layout, Node
from tests.cluster.places import ClusterError
from tests.cluster.processes import Daemon, Ledger, becomes, run

SWITCH: Final = "switch"
HOLD_LIMIT_SECONDS: Final = 10.0
# What the kubelet insists on machine-wide. Each node sees files with these values instead, and changes nothing.
KERNEL_DEFAULTS: Final = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1000000,
    "kernel/keys/root_maxbytes": 25000000,
}
# Folders that the node's programs have built in; each node gets empty ones of its own.
PRIVATE_FOLDERS: Final = ("/run", "/var/lib", "/var/log")


@contextmanager
def free_number() -> Iterator[int]:
    """A cluster number whose addresses nobody here uses; held until the block ends."""
    lock = os.open("/run", os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        taken = run("ip", "-o", "-4", "address") + run("ip", "-4", "route", "show", "table", "all")
        for number in range(FIRST_NUMBER, LAST_NUMBER + 1):
            if f" 10.{number}." not in taken and f"\n10.{number}." not in taken:
                yield number
                return
        raise ClusterError(
            f"all of 10.{FIRST_NUMBER}.0.0/16 to 10.{LAST_NUMBER}.0.0/16 are in use; take a cluster down"
        )
    finally:
        os.close(lock)


def enter(daemon: Daemon, *, mounts: bool = True) -> list[str]:
    """The prefix that runs a command in the namespaces which `daemon` holds."""
    kinds = ("net", "mount", "uts") if mounts else ("net",)
    files = {"net": "net", "mount": "mnt", "uts": "uts"}
    return ["nsenter", *(f"--{kind}=/proc/{daemon.pid}/ns/{files[kind]}" for kind in kinds), "--"]


def connect_host(layout: Layout, ledger: Ledger) -> None:
    """Make the switch and lay the host's cable; from here on the cluster's number is taken."""
    switch = _hold(ledger, SWITCH, layout.state, ["unshare", "--net"], "")
    inside = enter(switch, mounts=False)
    run(*inside, "ip", "link", "add", "bridge", "type", "bridge")
    run(*inside, "ip", "link", "set", "bridge", "up")
    run("ip", "link", "add", layout.host_link, "type", "veth", "peer", "name", "host", "netns", str(switch.pid))
    run(*inside, "ip", "link", "set", "host", "master", "bridge", "up")
    run("ip", "address", "add", f"{layout.host}/24", "dev", layout.host_link)
    run("ip", "link", "set", layout.host_link, "up")
    for node in layout.nodes:
        run("ip", "route", "add", node.pods, "via", node.address, "dev", layout.host_link)
    run("ip", "route", "add", layout.services, "via", layout.nodes[0].address, "dev", layout.host_link)


def connect_node(layout: Layout, node: Node, ledger: Ledger) -> Daemon:
    """Make the node's namespaces and lay its cable; the process that holds them."""
    script = _mounts(node)
    unshare = ["unshare", "--net", "--mount", "--uts", "--propagation", "private"]
    holder = _hold(ledger, f"{node.name}-namespaces", node.folder, unshare, script)
    switch = ledger.daemons()[SWITCH]
    inside = enter(holder)
    at_switch = enter(switch, mounts=False)
    run(*at_switch, "ip", "link", "add", node.link, "type", "veth", "peer", "name", "eth0", "netns", str(holder.pid))
    run(*at_switch, "ip", "link", "set", node.link, "master", "bridge", "up")
    run(*inside, "ip", "link", "set", "lo", "up")
    run(*inside, "ip", "address", "add", f"{node.address}/24", "dev", "eth0")
    run(*inside, "ip", "link", "set", "eth0", "up")
    run(*inside, "ip", "route", "add", "unreachable", "default")
    for other in layout.nodes:
        if other != node:
            run(*inside, "ip", "route", "add", other.pods, "via", other.address)
    run(*inside, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    run(*inside, "sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1")
    # A Service that kube-proxy does not know yet answers at once; without this a first dial hangs for 30 s.
    run(*inside, "iptables", "-I", "FORWARD", "-d", layout.services, "-j", "REJECT")
    return holder


def disconnect(layout: Layout) -> None:
    """Take the host's cable away, and its routes with it."""
    run("ip", "link", "delete", layout.host_link, check=False)


def _mounts(node: Node) -> str:
    lines = [f"hostname {node.name}"]
    for path, value in KERNEL_DEFAULTS.items():
        file = node.folder / "kernel" / path.replace("/", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")
        lines.append(f"mount --bind {file} /proc/sys/{path}")
    lines += [f"mount -t tmpfs none {folder}" for folder in PRIVATE_FOLDERS]
    lines += ["mkdir -p /run/netns /run/lock /var/lib/kubelet /var/log/pods"]
    return "\n".join(lines)


def _hold(ledger: Ledger, name: str, folder: Path, unshare: list[str], script: str) -> Daemon:
    """Start a process that sets up fresh namespaces by `script` and then only keeps them."""
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / f"{name}.held"
    mark.unlink(missing_ok=True)
    holder = ledger.start(name, *unshare, "sh", "-ec", f"{script}\ntouch {mark}\nexec sleep infinity")
    if not becomes(mark.exists, HOLD_LIMIT_SECONDS):
        raise ClusterError(f"the namespaces of {name} could not be made; read {ledger.log(name)}")
    return holder
