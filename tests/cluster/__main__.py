"""Command line of the test cluster: `python -m tests.cluster up|down|status|kubeconfig|load`.

Settings come from the environment, as `make` passes them:

    CLUSTER         local, kind or existing
    NAME            which cluster; several run side by side          (specdec)
    NODES           how many nodes                                   (2)
    CLUSTER_AUDIT   what the audit log notes: off, writes or all     (writes; local only)
    CLUSTER_QPS     requests a second of the controllers             (200; local only)
    CLUSTER_STATE   the folder of the clusters' state                (in the cache)
"""

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, cast, get_args

from tests.cluster import images, tools
from tests.cluster.controlplane import Audit, ControlPlane
from tests.cluster.layout import DEFAULT_NAME
from tests.cluster.modes import Cluster, Existing, Kind, Local
from tests.cluster.places import ClusterError, say
from tests.cluster.processes import run

NAMES: Final = re.compile(r"[a-z][a-z0-9-]{0,30}")


def chosen() -> Cluster:
    """The cluster that the environment names."""
    name = os.environ.get("NAME") or DEFAULT_NAME
    if not NAMES.fullmatch(name):
        raise ClusterError(f"NAME is {name!r}; use up to 31 small letters, digits and dashes, a letter first")
    nodes = _number("NODES", 2)
    makers: dict[str, Callable[[], Cluster]] = {
        "local": lambda: Local(name, nodes, _control_plane()),
        "kind": lambda: Kind(name, nodes),
        "existing": Existing,
    }
    mode = os.environ.get("CLUSTER") or "local"
    if mode not in makers:
        raise ClusterError(f"CLUSTER is {mode!r}; set it to one of {', '.join(makers)}")
    return makers[mode]()


def _control_plane() -> ControlPlane:
    audit = os.environ.get("CLUSTER_AUDIT") or "writes"
    if audit not in get_args(Audit):
        raise ClusterError(f"CLUSTER_AUDIT is {audit!r}; set it to one of {', '.join(get_args(Audit))}")
    return ControlPlane(cast(Audit, audit), _number("CLUSTER_QPS", 200))


def _number(variable: str, default: int) -> int:
    value = os.environ.get(variable) or str(default)
    if not value.isdecimal() or int(value) < 1:
        raise ClusterError(f"{variable} is {value!r}; set it to a whole number of at least 1")
    return int(value)


def up(cluster: Cluster) -> None:
    kubeconfig = cluster.up()
    say(_nodes(kubeconfig))
    say(f"the cluster is up. To use it: export KUBECONFIG={kubeconfig}")
    print(kubeconfig)


def status(cluster: Cluster) -> None:
    kubeconfig = _kubeconfig(cluster)
    print("\n".join([*cluster.processes(), _nodes(kubeconfig)]))


def load(cluster: Cluster, names: Sequence[str]) -> None:
    """Build the named images, or the default ones, where something changed, and import them into each node."""
    _kubeconfig(cluster)
    builder = images.chosen_builder()
    cluster.load([images.build(images.find(name), builder) for name in names or images.DEFAULT])


def _kubeconfig(cluster: Cluster) -> Path:
    if (kubeconfig := cluster.kubeconfig()) is None:
        raise ClusterError("the cluster is not up; `make cluster-up` starts it")
    return kubeconfig


def _nodes(kubeconfig: Path) -> str:
    columns = ("-o", "wide", "-L", "nvidia.com/gpu.product")
    return run(tools.path("kubectl"), f"--kubeconfig={kubeconfig}", "get", "nodes", *columns, check=False).rstrip()


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `python -m tests.cluster`."""
    parser = argparse.ArgumentParser(prog="tests.cluster", description="The test cluster.")
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("up", help="start the cluster and print its kubeconfig's path")
    ending = actions.add_parser("down", help="end the cluster")
    ending.add_argument("--wipe", action="store_true", help="also forget the images that its nodes imported")
    actions.add_parser("status", help="what runs")
    actions.add_parser("kubeconfig", help="print the path of the kubeconfig")
    actions.add_parser("load", help="build images and import them into every node").add_argument("names", nargs="*")
    try:
        _act(parser.parse_args(arguments), chosen())
    except ClusterError as error:
        say(f"error: {error}")
        return 1
    return 0


def _act(wanted: argparse.Namespace, cluster: Cluster) -> None:
    match wanted.action:
        case "up":
            up(cluster)
        case "down":
            cluster.down(wipe=wanted.wipe)
            say("the cluster is down")
        case "status":
            status(cluster)
        case "kubeconfig":
            print(_kubeconfig(cluster))
        case "load":
            load(cluster, wanted.names)


if __name__ == "__main__":
    sys.exit(main())
