"""The images that a cluster itself needs: pause (compiled here), CoreDNS (from its module), busybox (Debian's)."""

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.cluster import tools
from tests.cluster.archives import Contents, write_image
from tests.cluster.packages import program
from tests.cluster.places import ClusterError, cache_dir
from tests.cluster.processes import run

PAUSE: Final = "localhost/pause:1"
COREDNS: Final = "localhost/coredns:1"
BUSYBOX: Final = "localhost/busybox:1"
_PAUSE_SOURCE: Final = Path(__file__).with_name("pause.c")
_WRITER: Final = Path(__file__).with_name("archives.py")


def system_images() -> dict[str, Path]:
    """Reference -> archive, in the cache; written where missing."""
    return {PAUSE: pause(PAUSE), COREDNS: coredns(COREDNS), BUSYBOX: busybox(BUSYBOX)}


def pause(reference: str) -> Path:
    """The archive of the pause image under the name `reference`."""
    binary = _cached("pause", _PAUSE_SOURCE)
    if not binary.exists():
        fresh = binary.with_suffix(".new")
        run("gcc", "-Os", "-static", "-s", "-Wall", "-Werror", "-o", fresh, _PAUSE_SOURCE)
        fresh.replace(binary)
    return _archive(reference, binary, Contents(files={"/pause": binary}, entrypoint=["/pause"], user="65535:65535"))


def coredns(reference: str) -> Path:
    """The archive of CoreDNS under the name `reference`."""
    binary = tools.path("coredns")
    return _archive(reference, binary, Contents(files={"/coredns": binary}, entrypoint=["/coredns"]))


def busybox(reference: str) -> Path:
    """The archive of a busybox with all its commands under the name `reference`."""
    where = program("busybox")
    if where is None:
        raise ClusterError("busybox is not installed; `python -m tests.cluster.packages local` installs it")
    commands = subprocess.run([where, "--list"], check=True, capture_output=True, text=True, timeout=30).stdout.split()
    accounts = _cached("accounts", _WRITER)
    accounts.write_text("root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n")
    contents = Contents(
        files={"/bin/busybox": Path(where).resolve(), "/etc/passwd": accounts},
        folders={"/tmp": 0o1777},
        links={f"/bin/{command}": "/bin/busybox" for command in commands if command != "busybox"},
    )
    return _archive(reference, Path(where), contents)


def _archive(reference: str, content: Path, contents: Contents) -> Path:
    """The archive of `contents`, keyed by its main file `content` and by the code that writes archives."""
    target = _cached(reference.replace("/", "_").replace(":", "_"), content).with_suffix(".tar")
    if not target.exists():
        write_image(target, reference, contents)
    return target


def _cached(name: str, source: Path) -> Path:
    with source.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256")
    digest.update(_WRITER.read_bytes() + Path(__file__).read_bytes())
    folder = cache_dir() / "system-images"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}-{digest.hexdigest()[:12]}"


def clear() -> None:
    """Forget all archives written here."""
    shutil.rmtree(cache_dir() / "system-images", ignore_errors=True)
