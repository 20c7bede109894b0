"""The container engine that kind runs on: the machine's own where one answers, else a dockerd of the cluster's.

Ours lives like a node of the local cluster: in namespaces and control groups of its own, with its files in the state
folder, behind one cable to the host.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.cluster import cgroups, limitedrunc, network, packages
from tests.cluster.layout import Layout
from tests.cluster.places import ClusterError, say
from tests.cluster.processes import Ledger, run

READY_LIMIT_SECONDS: Final = 60.0
PULL_LIMIT_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class Engine:
    """A docker engine: its address (empty: the machine's default), and whether it is ours."""

    host: str
    own: bool

    def environment(self) -> dict[str, str]:
        """The environment for docker and kind to talk to it."""
        return {**os.environ, **({"DOCKER_HOST": self.host} if self.host else {})}

    def docker(self, *arguments: str | Path, limit: float = 120.0, check: bool = True) -> str:
        """The output of the docker client."""
        where = ["--host", self.host] if self.host else []
        return run("docker", *where, *arguments, limit=limit, check=check)

    def pull(self, reference: str) -> bool:
        """Whether the image is there, or could be fetched."""
        if self.docker("image", "ls", "--quiet", reference, check=False).strip():
            return True
        if self.own:  # its network leads nowhere
            return False
        say(f"pulling {reference}")
        return bool(self.docker("pull", "--quiet", reference, limit=PULL_LIMIT_SECONDS, check=False).strip())


def machines_own() -> Engine | None:
    """The engine that `docker` reaches by default, or None."""
    try:
        done = subprocess.run(["docker", "info"], check=False, capture_output=True, timeout=20)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return Engine("", own=False) if done.returncode == 0 else None


def socket(layout: Layout) -> Path:
    return layout.state / "engine" / "docker.sock"


def start(layout: Layout, daemons: Ledger) -> Engine:
    """Start a dockerd for this cluster alone and wait for it. Its address on the host's cable is the first node's."""
    if os.geteuid() != 0:
        raise ClusterError("no docker engine answers, and starting one needs root: start docker, or use sudo")
    packages.install("kind")
    node = layout.nodes[0]
    inside = network.enter(network.connect_node(layout, node, daemons))
    cgroups.make(containers_group(layout))
    here = socket(layout).parent
    here.mkdir(parents=True, exist_ok=True)
    daemons.start("dockerd", *inside, "dockerd", *_options(layout, here))
    engine = Engine(f"unix://{socket(layout)}", own=True)

    def answers() -> bool:
        return bool(engine.docker("version", "--format", "{{.Server.Version}}", check=False).strip())

    daemons.wait("the container engine answers", answers, READY_LIMIT_SECONDS)
    return engine


def containers_group(layout: Layout) -> str:
    """The control group below which all containers of our engine are."""
    return f"{layout.cgroup}/containers"


def open_ways(layout: Layout, daemons: Ledger, nodes: Sequence[str]) -> None:
    """Let the host reach pods and Services behind the container `nodes` (addresses), as on the local cluster."""
    gate = layout.nodes[0]
    run("ip", "route", "replace", layout.pods, "via", gate.address, "dev", layout.host_link)
    inside = network.enter(daemons.daemons()[f"{gate.name}-namespaces"])
    run(*inside, "iptables", "-I", "DOCKER-USER", "-j", "ACCEPT")
    run(*inside, "ip", "route", "replace", layout.services, "via", nodes[0])
    for node in nodes:
        run(
            *inside,
            "ip",
            "route",
            "replace",
            f"10.{layout.number}.{64 + int(node.rpartition('.')[2])}.0/24",
            "via",
            node,
        )


def _options(layout: Layout, here: Path) -> list[str]:
    options = [
        f"--host=unix://{socket(layout)}",
        f"--data-root={layout.state}/images/engine",
        f"--exec-root={here}/run",
        f"--pidfile={here}/dockerd.pid",
        "--storage-driver=overlay2",
        "--exec-opt=native.cgroupdriver=cgroupfs",
        f"--cgroup-parent=/{containers_group(layout)}",
        f"--bip=10.{layout.number}.16.1/24",
        f"--default-address-pool=base=10.{layout.number}.32.0/20,size=24",
        "--oom-score-adjust=0",
    ]
    if limitedrunc.needed():
        runtime = here / "limited-runc"
        runtime.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{limitedrunc.__file__}" "$@"\n')
        runtime.chmod(0o755)
        options += [f"--add-runtime=limited={runtime}", "--default-runtime=limited"]
    return options
