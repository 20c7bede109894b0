"""Names, addresses and files of one local cluster; plain data, nothing here touches the machine.

Cluster number N owns 10.N.0.0/16: nodes in 10.N.0.0/24 (the host is .1), pods in 10.N.64.0/18 (one /24 a node),
Services in 10.N.128.0/20. Numbers start at FIRST_NUMBER so that several clusters run side by side.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

FIRST_NUMBER: Final = 200
LAST_NUMBER: Final = 231
DEFAULT_NAME: Final = "specdec"


@dataclass(frozen=True, slots=True)
class Node:
    """One node: `index` counts from 1; node 1 also carries the control plane."""

    cluster: str
    number: int
    index: int
    state: Path

    @property
    def name(self) -> str:
        return f"node{self.index}"

    @property
    def address(self) -> str:
        return f"10.{self.number}.0.{self.index + 1}"

    @property
    def pods(self) -> str:
        """The pods' network of this node."""
        return f"10.{self.number}.{64 + self.index}.0/24"

    @property
    def folder(self) -> Path:
        """Files that live as long as the node runs."""
        return self.state / self.name

    @property
    def image_store(self) -> Path:
        """containerd's root: survives `down`, so that images need not be imported again."""
        return self.state / "images" / self.name

    @property
    def socket(self) -> Path:
        return self.folder / "containerd.sock"

    @property
    def cgroup(self) -> str:
        return f"specdec-{self.cluster}/{self.name}"

    @property
    def link(self) -> str:
        """The switch's end of this node's cable."""
        return f"sd{self.number}n{self.index}"


@dataclass(frozen=True, slots=True)
class Layout:
    """One cluster: its name, its number and how many nodes it has."""

    name: str
    number: int
    count: int
    state: Path

    @property
    def nodes(self) -> tuple[Node, ...]:
        return tuple(Node(self.name, self.number, index + 1, self.state) for index in range(self.count))

    @property
    def host(self) -> str:
        """The host's address on the nodes' network."""
        return f"10.{self.number}.0.1"

    @property
    def api(self) -> str:
        return f"https://{self.nodes[0].address}:6443"

    @property
    def pods(self) -> str:
        return f"10.{self.number}.64.0/18"

    @property
    def services(self) -> str:
        return f"10.{self.number}.128.0/20"

    @property
    def dns(self) -> str:
        return f"10.{self.number}.128.10"

    @property
    def host_link(self) -> str:
        """The host's end of the only cable that leaves the cluster."""
        return f"sd{self.number}host"

    @property
    def cgroup(self) -> str:
        return f"specdec-{self.name}"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.identity("super-admin")

    def identity(self, user: str) -> Path:
        """The kubeconfig of one component."""
        return self.state / "identities" / f"{user}.conf"
