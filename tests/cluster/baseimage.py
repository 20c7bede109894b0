"""The base of our images where no registry can be reached: Debian's Python by debootstrap, once, in the cache."""

import hashlib
import os
import shutil
from pathlib import Path
from typing import Final

from tests.cluster import archives
from tests.cluster.archives import Contents, write_image
from tests.cluster.places import cache_dir, say
from tests.cluster.processes import run

SUITE: Final = "bookworm"
PACKAGES: Final = ("ca-certificates", "python3-minimal", "python3-venv")
BOOTSTRAP_LIMIT_SECONDS: Final = 1800.0
UNPACK_LIMIT_SECONDS: Final = 300.0
# What a container has no use for; together half of the file system.
NEEDLESS: Final = (
    "var/cache/apt",
    "var/lib/apt/lists",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
)


def key() -> str:
    """Twelve digits for all that decides how the base comes out."""
    sources = (Path(__file__), Path(archives.__file__))
    recipe = repr((SUITE, PACKAGES, NEEDLESS)).encode() + b"".join(source.read_bytes() for source in sources)
    return hashlib.sha256(recipe).hexdigest()[:12]


def reference() -> str:
    """The name by which Dockerfiles get it as BASE_IMAGE."""
    return f"localhost/specdec/base:{key()}"


def archive() -> Path:
    """The archive of the base image; made where missing (a minute or two)."""
    target = cache_dir() / "base-image" / f"{key()}.tar"
    if not target.exists():
        say(f"making the base image from Debian {SUITE} (a minute or two)")
        tree = target.with_suffix(".tree")
        bootstrap(tree, PACKAGES)
        write_image(target, reference(), Contents(tree=tree))
        shutil.rmtree(tree)
    return target


def bootstrap(tree: Path, packages: tuple[str, ...]) -> None:
    """A fresh Debian file system with `packages` in the folder `tree`. DEBIAN_MIRROR chooses another mirror."""
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    run("tar", "--numeric-owner", "-C", tree, "-xf", _debian(packages), limit=UNPACK_LIMIT_SECONDS)


def _debian(packages: tuple[str, ...]) -> Path:
    """The tar file of a bootstrapped Debian, kept: what is made on top of it changes more often."""
    digest = hashlib.sha256(repr((SUITE, packages, NEEDLESS)).encode()).hexdigest()[:12]
    target = cache_dir() / "debian" / f"{digest}.tar"
    if not target.exists():
        tree, fresh = target.with_suffix(".tree"), target.with_suffix(".new")
        shutil.rmtree(tree, ignore_errors=True)
        tree.parent.mkdir(parents=True, exist_ok=True)
        mirror = [os.environ["DEBIAN_MIRROR"]] if os.environ.get("DEBIAN_MIRROR") else []
        include = f"--include={','.join(packages)}"
        run("debootstrap", "--variant=minbase", include, SUITE, tree, *mirror, limit=BOOTSTRAP_LIMIT_SECONDS)
        for needless in NEEDLESS:
            shutil.rmtree(tree / needless, ignore_errors=True)
        (tree / "var/lib/apt/lists").mkdir(parents=True, exist_ok=True)
        run("tar", "--numeric-owner", "-C", tree, "-cf", fresh, ".", limit=UNPACK_LIMIT_SECONDS)
        shutil.rmtree(tree)
        fresh.replace(target)
    return target
