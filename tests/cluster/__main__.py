"""Command line of the test cluster: `python -m tests.cluster up|down|status|kubeconfig|load`.

Settings come from the environment, as `make` passes them:

    CLUSTER         local, kind or existing
    NAME            which cluster; several run side by side          (specdec)
    NODES           how many nodes                                   (2)
    CLUSTER_AUDIT   what the audit log notes: off, writes or all     (writes)
    CLUSTER_QPS     requests a second of the controllers             (200)
    CLUSTER_STATE   the folder of the clusters' state                (in the cache)
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from tests.cluster import local
from tests.cluster.controlplane import Audit, ControlPlane, kubectl
from tests.cluster.layout import DEFAULT_NAME
from tests.cluster.places import ClusterError, say


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment asks for."""

    cluster: str
    name: str
    nodes: int
    control_plane: ControlPlane

    @classmethod
    def read(cls) -> "Settings":
        audit = os.environ.get("CLUSTER_AUDIT") or "writes"
        if audit not in get_args(Audit):
            raise ClusterError(f"CLUSTER_AUDIT is {audit!r}; set it to one of {', '.join(get_args(Audit))}")
        control_plane = ControlPlane(cast(Audit, audit), _number("CLUSTER_QPS", 200))
        name = os.environ.get("NAME") or DEFAULT_NAME
        return cls(os.environ.get("CLUSTER") or "local", name, _number("NODES", 2), control_plane)


def _number(variable: str, default: int) -> int:
    value = os.environ.get(variable) or str(default)
    if not value.isdecimal() or int(value) < 1:
        raise ClusterError(f"{variable} is {value!r}; set it to a whole number of at least 1")
    return int(value)


def up(settings: Settings) -> None:
    layout = local.up(settings.name, settings.nodes, settings.control_plane)
    say(kubectl(layout, "get", "nodes", "-L", "nvidia.com/gpu.product").rstrip())
    say(f"cluster {layout.name} is up. To use it: export KUBECONFIG={layout.kubeconfig}")
    print(layout.kubeconfig)


def down(settings: Settings, *, wipe: bool) -> None:
    local.down(settings.name, wipe=wipe)
    say(f"cluster {settings.name} is down")


def status(settings: Settings) -> None:
    layout = local.find(settings.name)
    if layout is None:
        say(f"no cluster {settings.name}")
        return
    for name, daemon in local.ledger(layout).daemons().items():
        print(f"{name:28} {'runs' if daemon.alive() else 'DEAD':5} pid {daemon.pid:7} {daemon.memory_mib():7.1f} MiB")
    print(kubectl(layout, "get", "nodes", "-o", "wide", check=False).rstrip())


def kubeconfig(settings: Settings) -> None:
    layout = local.find(settings.name)
    if layout is None:
        raise ClusterError(f"no cluster {settings.name}; `make cluster-up` starts one")
    print(layout.kubeconfig)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `python -m tests.cluster`."""
    parser = argparse.ArgumentParser(prog="tests.cluster", description="The test cluster.")
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("up", help="start the cluster and print its kubeconfig's path")
    ending = actions.add_parser("down", help="end the cluster")
    ending.add_argument("--wipe", action="store_true", help="also forget the images that its nodes imported")
    actions.add_parser("status", help="what runs")
    actions.add_parser("kubeconfig", help="print the path of the kubeconfig")
    loading = actions.add_parser("load", help="import image archives into every node")
    loading.add_argument("archives", nargs="+", type=Path)
    chosen = parser.parse_args(arguments)
    try:
        _act(chosen, Settings.read())
    except ClusterError as error:
        say(f"error: {error}")
        return 1
    return 0


def _act(chosen: argparse.Namespace, settings: Settings) -> None:
    match chosen.action:
        case "up":
            up(settings)
        case "down":
            down(settings, wipe=chosen.wipe)
        case "status":
            status(settings)
        case "kubeconfig":
            kubeconfig(settings)
        case "load":
            layout = local.find(settings.name)
            if layout is None:
                raise ClusterError(f"no cluster {settings.name}; `make cluster-up` starts one")
            local.load(layout, chosen.archives)


if __name__ == "__main__":
    sys.exit(main())
