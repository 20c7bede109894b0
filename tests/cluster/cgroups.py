"""A tree of control groups of the cluster's own: everything it starts is inside, so `down` can find all of it.

Version 1 has one hierarchy per controller and a cpuset that must be filled in; version 2 has one for all.
"""

import os
import signal
from pathlib import Path
from typing import Final

from tests.cluster.places import ClusterError
from tests.cluster.processes import becomes

ROOT: Final = Path("/sys/fs/cgroup")
_CPUSET: Final = ("cpuset.cpus", "cpuset.mems")
_V2_CONTROLLERS: Final = "+cpu +cpuset +io +memory +pids"
DAEMONS: Final = "daemons"
KILL_LIMIT_SECONDS: Final = 20.0


def version_two() -> bool:
    return (ROOT / "cgroup.controllers").exists()


def _hierarchies() -> list[Path]:
    if version_two():
        return [ROOT]
    return sorted(folder for folder in ROOT.iterdir() if (folder / "cgroup.procs").exists() and not folder.is_symlink())


def make(group: str) -> None:
    """Create `group` (a path below the root) in each hierarchy, ready to hold children."""
    for hierarchy in _hierarchies():
        folder = hierarchy
        for part in Path(group).parts:
            if version_two():
                (folder / "cgroup.subtree_control").write_text(_V2_CONTROLLERS)
            folder = folder / part
            folder.mkdir(exist_ok=True)
            for name in _CPUSET if hierarchy.name == "cpuset" else ():
                (folder / name).write_text((folder.parent / name).read_text())
    if version_two():
        (ROOT / group / "cgroup.subtree_control").write_text(_V2_CONTROLLERS)


def daemon_group(group: str) -> list[Path]:
    """Where the daemons of `group` live, one folder per hierarchy; created where missing."""
    make(f"{group}/{DAEMONS}") if not version_two() else _make_leaf(group)
    return [hierarchy / group / DAEMONS for hierarchy in _hierarchies()]


def _make_leaf(group: str) -> None:
    make(group)
    (ROOT / group / DAEMONS).mkdir(exist_ok=True)


def exists(group: str) -> bool:
    """Whether any hierarchy has `group`."""
    return any((hierarchy / group).exists() for hierarchy in _hierarchies())


def members(group: str) -> set[int]:
    """The pids in `group` and below, over all hierarchies."""
    found: set[int] = set()
    for hierarchy in _hierarchies():
        # os.walk, unlike Path.rglob, takes it that groups go away meanwhile
        for folder, _, _ in os.walk(hierarchy / group):
            try:
                found.update(map(int, Path(folder, "cgroup.procs").read_text().split()))
            except OSError:
                continue
    return found


def kill(group: str) -> None:
    """End all in `group` and below, by force, until none is left."""

    def emptied() -> bool:
        left = members(group)
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return not left

    if not becomes(emptied, KILL_LIMIT_SECONDS):
        raise ClusterError(f"processes in the control group {group} do not end: {sorted(members(group))}")


def remove(group: str) -> None:
    """Remove the empty `group` and all below it."""
    for hierarchy in _hierarchies():
        for folder, _, _ in os.walk(hierarchy / group, topdown=False):
            becomes(lambda folder=folder: _removed(folder), KILL_LIMIT_SECONDS)  # type: ignore[misc]


def _removed(folder: str) -> bool:
    try:
        os.rmdir(folder)
    except FileNotFoundError:
        return True
    except OSError:  # still busy: a process in it is on its way out
        return False
    return True
