"""The three kinds of cluster behind one face: local, kind, existing."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.cluster import kindcluster, local, tools
from tests.cluster.controlplane import ControlPlane
from tests.cluster.places import ClusterError, say
from tests.cluster.processes import run


class Cluster(Protocol):
    """What `make cluster-*` and `make images-load` need of a cluster."""

    def up(self) -> Path:
        """Start it, or find it running; the path of its kubeconfig."""

    def down(self, *, wipe: bool) -> None:
        """End it; `wipe` also forgets the images that its nodes imported."""

    def kubeconfig(self) -> Path | None:
        """The path of its kubeconfig, or None when it is not up."""

    def load(self, archives: Sequence[Path]) -> None:
        """Import image archives into each node."""

    def processes(self) -> list[str]:
        """A line for each daemon that was started here."""


@dataclass(frozen=True, slots=True)
class Local:
    """Real nodes in namespaces of this machine."""

    name: str
    nodes: int
    control_plane: ControlPlane

    def up(self) -> Path:
        return local.up(self.name, self.nodes, self.control_plane).kubeconfig

    def down(self, *, wipe: bool) -> None:
        local.down(self.name, wipe=wipe)

    def kubeconfig(self) -> Path | None:
        layout = local.find(self.name)
        return layout.kubeconfig if layout else None

    def load(self, archives: Sequence[Path]) -> None:
        if (layout := local.find(self.name)) is None:
            raise ClusterError(f"no cluster {self.name}; `make cluster-up CLUSTER=local` starts one")
        local.load(layout, archives)

    def processes(self) -> list[str]:
        layout = local.find(self.name)
        daemons = local.ledger(layout).daemons() if layout else {}
        return [
            f"{name:28} {'runs' if daemon.alive() else 'DEAD':5} pid {daemon.pid:7} {daemon.memory_mib():7.1f} MiB"
            for name, daemon in daemons.items()
        ]


@dataclass(frozen=True, slots=True)
class Kind:
    """`kind create cluster` on the machine's container engine, or on one of its own; may run beside a local cluster."""

    base: str
    nodes: int

    @property
    def name(self) -> str:
        return f"{self.base}-kind"

    def up(self) -> Path:
        return kindcluster.up(self.name, self.nodes)

    def down(self, *, wipe: bool) -> None:
        kindcluster.down(self.name, wipe=wipe)

    def kubeconfig(self) -> Path | None:
        return kindcluster.kubeconfig(self.name)

    def load(self, archives: Sequence[Path]) -> None:
        kindcluster.load(self.name, archives)

    def processes(self) -> list[str]:
        return []


@dataclass(frozen=True, slots=True)
class Existing:
    """The cluster of the current kubeconfig: it is used, and neither started nor changed nor ended."""

    def up(self) -> Path:
        file = self.kubeconfig()
        if file is None:
            raise ClusterError("CLUSTER=existing needs a kubeconfig: set KUBECONFIG, or write ~/.kube/config")
        run(tools.path("kubectl"), f"--kubeconfig={file}", "get", "--raw", "/readyz", "--request-timeout=10s")
        return file

    def down(self, *, wipe: bool) -> None:
        say("CLUSTER=existing: left as it is")

    def kubeconfig(self) -> Path | None:
        file = Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config")
        return file if file.exists() else None

    def load(self, archives: Sequence[Path]) -> None:
        names = ", ".join(archive.stem for archive in archives)
        raise ClusterError(
            f"CLUSTER=existing: push {names} to a registry that the cluster reads, and name it in the values"
        )

    def processes(self) -> list[str]:
        return []
