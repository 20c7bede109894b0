"""Installs the Debian packages whose programs are missing.

    python -m tests.cluster.packages local|images|kind

Only what is missing is asked for, and never at the price of removing a package: a machine with another vendor's
containerd keeps it. Without apt or root the message lists what to install by hand.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.cluster.places import ClusterError, say

# what must be there -> the Debian package that brings it
LOCAL: Final = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "sysctl": "procps",
    "busybox": "busybox-static",
    "gcc": "gcc",
    "/usr/include/stdlib.h": "libc6-dev",
    "openssl": "openssl",
}
IMAGES: Final = {"buildah": "buildah", "debootstrap": "debootstrap"}
KIND: Final = {"dockerd": "docker.io", "docker": "docker.io", "jq": "jq"}
ROOMS: Final = {"local": LOCAL, "images": IMAGES, "kind": {**LOCAL, **IMAGES, **KIND}}
APT_LIMIT_SECONDS: Final = 900
_SBIN: Final = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_POLICY: Final = Path("/usr/sbin/policy-rc.d")


def program(name: str) -> str | None:
    """Where `name` is, also in the folders that an ordinary user's PATH leaves out."""
    if name.startswith("/"):
        return name if Path(name).exists() else None
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *_SBIN]))


def missing(wanted: dict[str, str]) -> list[str]:
    """The packages to install, each once, in a stable order."""
    return sorted({package for name, package in wanted.items() if program(name) is None})


def install(room: str) -> None:
    """Make sure that what `room` needs is there."""
    packages = missing(ROOMS[room])
    if not packages:
        return
    listed = " ".join(packages)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ClusterError(
            f"missing here: {listed}. Install them (Debian: sudo apt-get install {listed}) and run again."
        )
    say(f"installing {listed}")
    with _no_services():
        _apt("update")
        # a package must not push out another vendor's; --no-remove makes apt refuse instead
        _apt("install", "--yes", "--no-install-recommends", "--no-remove", *packages)
    if still := missing(ROOMS[room]):
        raise ClusterError(f"installed {listed}, and yet what these bring is missing: {' '.join(still)}")


def _apt(*arguments: str) -> None:
    command = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300", *arguments]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command, check=False, env=environment, capture_output=True, text=True, timeout=APT_LIMIT_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise ClusterError(f"{' '.join(command)} took longer than {APT_LIMIT_SECONDS} s") from None
    if done.returncode != 0:
        raise ClusterError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")


@contextmanager
def _no_services() -> Iterator[None]:
    """Keep packages from starting their daemons: the cluster starts its own, in its own folder."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()


def main() -> int:
    """Entry point of `python -m tests.cluster.packages`."""
    rooms = sys.argv[1:] or ["local", "images"]
    if unknown := [room for room in rooms if room not in ROOMS]:
        say(f"error: no room {unknown[0]!r}; there are: {', '.join(ROOMS)}")
        return 2
    try:
        for room in rooms:
            install(room)
    except ClusterError as error:
        say(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
