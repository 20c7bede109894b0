"""Two ways from a Dockerfile to an archive: buildah, which needs neither daemon nor registry, and docker."""

import fcntl
import re
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.cluster import baseimage, packages
from tests.cluster.archives import rename_image
from tests.cluster.places import ClusterError, cache_dir, say
from tests.cluster.processes import run

BUILD_LIMIT_SECONDS: Final = 3600.0
KEPT_LAYERS: Final = 100
# What buildah and docker print when they begin with a line of the Dockerfile that takes time.
STEP: Final = re.compile(r"(\[\d+/\d+\] )?STEP \d+/\d+: (RUN|COPY)|#\d+ \[.*\] (RUN|COPY)")
STEP_COLUMNS: Final = 110
CERTIFICATES: Final = Path("/etc/ssl/certs")
# smaller and quicker than the default, and read by containerd since 1.5
COMPRESSION: Final = ("--compression-format=zstd", "--compression-level=1")


class ImageError(ClusterError):
    """An image could not be built or loaded."""


def buildah(dockerfile: Path, context: Path, reference: str, target: Path) -> None:
    """Build on a base of Debian packages and write the archive `target`; what was printed lies beside it."""
    packages.install("images")
    store = _store()
    base = _base(store)
    wheels = cache_dir() / "pip"
    wheels.mkdir(parents=True, exist_ok=True)
    command = [
        "buildah",
        *store,
        "bud",
        "--isolation=chroot",
        "--network=host",
        "--layers",
        "--force-rm",
        "--format=oci",
    ]
    # the base has Debian's certificates; a machine behind a proxy needs its own
    command += [f"--volume={CERTIFICATES}:{CERTIFICATES}:ro", f"--volume={wheels}:/root/.cache/pip"]
    command += [f"--build-arg=BASE_IMAGE={base}", "--pull-never", f"--file={dockerfile}", f"--tag={reference}"]
    with (cache_dir() / "buildah" / "builds").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        _logged([*command, str(context)], target.with_suffix(".log"))
    raw = target.with_suffix(".raw")
    raw.unlink(missing_ok=True)
    named = f"oci-archive:{raw}:{reference.rpartition(':')[2]}"
    run("buildah", *store, "push", "--quiet", *COMPRESSION, reference, named, limit=BUILD_LIMIT_SECONDS)
    rename_image(raw, target, reference)
    raw.unlink()
    _bound(store)


def docker(dockerfile: Path, context: Path, reference: str, target: Path, base: str | None) -> None:
    """Build on the Dockerfile's public base, or on `base`, and write the archive `target`."""
    short = reference.removeprefix("docker.io/")
    other = [f"--build-arg=BASE_IMAGE={base}"] if base else []
    command = ["docker", "build", f"--file={dockerfile}", f"--tag={short}", *other, str(context)]
    _logged(command, target.with_suffix(".log"))
    fresh = target.with_suffix(".new")
    run("docker", "save", "--output", fresh, short, limit=BUILD_LIMIT_SECONDS)
    fresh.replace(target)


def public_base(dockerfile: Path) -> str:
    """The default of BASE_IMAGE in `dockerfile`."""
    if (found := re.search(r"^ARG BASE_IMAGE=(\S+)", dockerfile.read_text(), re.MULTILINE)) is None:
        raise ImageError(f"{dockerfile} names no default BASE_IMAGE")
    return found[1]


def docker_answers() -> bool:
    """Whether a docker engine is there."""
    try:
        return subprocess.run(["docker", "info"], check=False, capture_output=True, timeout=20).returncode == 0
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False


def _store() -> list[str]:
    root = cache_dir() / "buildah"
    return ["--root", str(root / "store"), "--runroot", str(root / "run"), "--storage-driver", "overlay"]


def _base(store: Sequence[str]) -> str:
    """The base image's name, once it is in the store."""
    base = baseimage.reference()
    if base not in run("buildah", *store, "images", "--format", "{{.Name}}:{{.Tag}}"):
        pulled = run("buildah", *store, "pull", "--quiet", f"oci-archive:{baseimage.archive()}").strip()
        run("buildah", *store, "tag", pulled, base)
    return base


def _bound(store: Sequence[str]) -> None:
    """Drop layers of earlier builds once many have piled up, unless another build runs just now."""
    if len(run("buildah", *store, "images", "--all", "--quiet").split()) <= KEPT_LAYERS:
        return
    with (cache_dir() / "buildah" / "builds").open("a") as lock, suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        run("buildah", *store, "rmi", "--prune", check=False)


def _logged(command: Sequence[str], log: Path) -> None:
    """Run `command`, what it prints in `log` and the Dockerfile's steps told as they come."""
    lines = []
    with (
        log.open("w") as out,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as build,
    ):
        limit = threading.Timer(BUILD_LIMIT_SECONDS, build.kill)
        limit.start()
        for line in build.stdout or ():
            out.write(line)
            lines.append(line)
            if STEP.match(line):
                say(f"  {line.rstrip()[:STEP_COLUMNS]}")
        build.wait()
        overdue = not limit.is_alive()
        limit.cancel()
    if overdue:
        raise ImageError(f"{command[0]} took longer than {BUILD_LIMIT_SECONDS:.0f} s; read {log}")
    if build.returncode != 0:
        last = "".join(lines[-8:])
        raise ImageError(f"{command[0]} failed ({build.returncode}); its last words, all of them in {log}:\n{last}")
