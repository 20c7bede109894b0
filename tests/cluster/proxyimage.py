"""The image of kube-proxy for kind: the program, and from the node's file system the packet filter's tools it calls."""

import re
from pathlib import Path
from typing import Final

from tests.cluster import tools
from tests.cluster.archives import Contents, write_image
from tests.cluster.processes import run

CALLED: Final = ("/usr/sbin/xtables-nft-multi", "/usr/sbin/nft", "/usr/sbin/conntrack")
FILTERS: Final = tuple(f"{family}tables{action}" for family in ("ip", "ip6") for action in ("", "-save", "-restore"))


def write(tree: Path, target: Path, reference: str) -> Path:
    """Write the image to `target`, with tools and libraries of the Debian file system `tree`."""
    # the packet filter loads these as it needs them, some with libraries of their own
    extensions = [f"/{file.relative_to(tree)}" for file in tree.glob("usr/lib/*/xtables/*.so")]
    wanted = {*CALLED, *extensions}
    files = {path: _resolved(tree, path) for path in sorted(wanted | libraries(tree, wanted))}
    files["/usr/local/bin/kube-proxy"] = tools.path("kube-proxy")
    links = {f"/usr/sbin/{name}": "xtables-nft-multi" for name in FILTERS}
    links |= {"/lib": "usr/lib", "/lib64": "usr/lib64"}
    folders = {"/run": 0o755, "/tmp": 0o1777}
    contents = Contents(files=_merged(files), links=links, folders=folders, entrypoint=["kube-proxy"])
    write_image(target, reference, contents)
    return target


def libraries(tree: Path, files: set[str]) -> set[str]:
    """The shared libraries, loader included, that `files` need inside `tree`."""
    return set(re.findall(r"(/\S+) \(0x", run("chroot", tree, "ldd", *sorted(files))))


def _merged(files: dict[str, Path]) -> dict[str, Path]:
    """The same files with /lib and /lib64 where Debian has them today: below /usr."""
    return {re.sub(r"^/(lib|lib64)/", r"/usr/\1/", path): file for path, file in files.items()}


def _resolved(tree: Path, path: str) -> Path:
    """The file behind links, which may name absolute places inside `tree`."""
    return tree / run("chroot", tree, "readlink", "-f", path).strip().lstrip("/")
