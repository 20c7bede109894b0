"""Builds the programs of the test cluster from Go modules, once, into the cache.

    python -m tests.cluster.tools build [PROGRAM...]    all of them without names; prints the folder of programs
    python -m tests.cluster.tools path PROGRAM          builds it where need be and prints its path

Each folder in `go/` pins one group of programs with go.mod and go.sum. A group's programs live in
`<cache>/tools/<group>-<key>`, where the key hashes those files, the build's flags and the Go release;
`<cache>/tools/current/bin` holds links to what was built or asked for last.
"""

import argparse
import fcntl
import functools
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.cluster.places import ClusterError, cache_dir, say

GO_ROOMS: Final = Path(__file__).resolve().parent / "go"
BUILD_LIMIT_SECONDS: Final = 3600
HEARTBEAT_SECONDS: Final = 30
KUBERNETES_VERSION: Final = "v1.35.4"


class ToolError(ClusterError):
    """A program of the test cluster could not be built."""


@dataclass(frozen=True, slots=True)
class Program:
    """One program: the folder in `go/` that pins it, its package there, and variables that carry its version."""

    name: str
    group: str
    package: str
    stamps: tuple[str, ...] = ()


def _kubernetes(name: str) -> Program:
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    major, minor, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
    values = {"gitVersion": KUBERNETES_VERSION, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    stamps = tuple(f"{package}.{key}={value}" for package in packages for key, value in values.items())
    return Program(name, "kubernetes", f"k8s.io/kubernetes/cmd/{name}", stamps)


# The order is the order of building: the first three are all that the integration tests need.
PROGRAMS: Final = {
    program.name: program
    for program in (
        Program("etcd", "kubernetes", "go.etcd.io/etcd/server/v3"),
        *map(_kubernetes, ("kube-apiserver", "kubectl", "kube-controller-manager", "kube-scheduler")),
        *map(_kubernetes, ("kubelet", "kube-proxy", "kubeadm")),
        Program("coredns", "coredns", "."),
        Program("helm", "helm", "helm.sh/helm/v3/cmd/helm", ("helm.sh/helm/v3/internal/version.version=v3.19.5",)),
        Program("kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok", ("sigs.k8s.io/kwok/pkg/consts.Version=0.8.0",)),
        Program("kind", "kind", "sigs.k8s.io/kind"),
    )
}


def path(name: str) -> Path:
    """The built program `name`; builds it first where the cache lacks it."""
    program = _known(name)
    target = _folder(program) / name
    if not target.exists():
        with _lock(name):
            if not target.exists():
                _build(program, target)
    _link(target)
    return target


def build(names: Sequence[str] = ()) -> Path:
    """Build the named programs, or all; the folder with a link to each."""
    for name in names or PROGRAMS:
        path(name)
    return _links()


def module_folder(name: str, module: str) -> Path:
    """The source folder of a Go `module` that program `name` is built from (for the data files beside the code)."""
    command = ["go", "list", "-m", "-f", "{{.Dir}}", module]
    where = GO_ROOMS / _known(name).group
    _go("mod", "download", module, cwd=where)
    return Path(_go(*command[1:], cwd=where).strip())


def _known(name: str) -> Program:
    try:
        return PROGRAMS[name]
    except KeyError:
        raise ToolError(f"no program {name!r} here; there are: {', '.join(PROGRAMS)}") from None


def _links() -> Path:
    return cache_dir() / "tools" / "current" / "bin"


def _link(target: Path) -> None:
    link = _links() / target.name
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_symlink() and link.readlink() == target:
        return
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.symlink_to(target)
    fresh.replace(link)


def _folder(program: Program) -> Path:
    return cache_dir() / "tools" / f"{program.group}-{_key(program.group)}"


@functools.cache
def _key(group: str) -> str:
    """Twelve digits for all that decides what the programs of `group` come out as."""
    digest = hashlib.sha256(_go("env", "GOVERSION", "GOOS", "GOARCH").encode())
    for file in sorted(file for file in (GO_ROOMS / group).rglob("*") if file.is_file()):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    digest.update(repr([program for program in PROGRAMS.values() if program.group == group]).encode())
    return digest.hexdigest()[:12]


def _go(*arguments: str, cwd: Path = GO_ROOMS) -> str:
    try:
        done = subprocess.run(["go", *arguments], cwd=cwd, check=True, capture_output=True, text=True, timeout=900)
    except FileNotFoundError:
        raise ToolError("the Go compiler is not on PATH; install Go 1.26 or later") from None
    except subprocess.CalledProcessError as error:
        raise ToolError(f"go {' '.join(arguments)} failed in {cwd}:\n{error.stderr}") from error
    return done.stdout


@contextmanager
def _lock(name: str) -> Iterator[None]:
    """Two builders of one program take turns; the second finds it done."""
    folder = cache_dir() / "tools" / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _build(program: Program, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    log = target.parent / f"{program.name}.log"
    fresh = target.with_name(f".{program.name}.{os.getpid()}")
    flags = " ".join(["-s", "-w", *(f"-X {stamp}" for stamp in program.stamps)])
    command = ["go", "build", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", str(fresh), program.package]
    say(f"building {program.name} ({list(PROGRAMS).index(program.name) + 1} of {len(PROGRAMS)} programs)")
    began = time.monotonic()
    with log.open("w") as out:
        room = GO_ROOMS / program.group
        process = subprocess.Popen(
            command, cwd=room, env={**os.environ, "CGO_ENABLED": "0"}, stdout=out, stderr=subprocess.STDOUT
        )
        try:
            status = _watched(process, program.name, began)
        finally:
            process.kill()
            process.wait()
    if status != 0:
        raise ToolError(f"building {program.name} failed ({status}); read {log}")
    fresh.replace(target)
    say(f"built {program.name} in {time.monotonic() - began:.0f} s, {target.stat().st_size / 1e6:.0f} MB")


def _watched(process: "subprocess.Popen[bytes]", name: str, began: float) -> int:
    while (elapsed := time.monotonic() - began) < BUILD_LIMIT_SECONDS:
        try:
            return process.wait(timeout=HEARTBEAT_SECONDS)
        except subprocess.TimeoutExpired:
            say(f"  still building {name}, {elapsed + HEARTBEAT_SECONDS:.0f} s")
    raise ToolError(f"building {name} took longer than {BUILD_LIMIT_SECONDS} s")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `python -m tests.cluster.tools`."""
    parser = argparse.ArgumentParser(prog="tests.cluster.tools", description=__doc__.splitlines()[0])
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("build", help="build programs into the cache").add_argument("names", nargs="*")
    actions.add_parser("path", help="print the path of one program").add_argument("name")
    chosen = parser.parse_args(arguments)
    try:
        print(build(chosen.names) if chosen.action == "build" else path(chosen.name))
    except ClusterError as error:
        say(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
