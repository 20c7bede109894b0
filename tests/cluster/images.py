"""Builds our images into archives in the cache, keyed by what goes into them.

    python -m tests.cluster.images [IMAGE...]      build where something changed; prints the archives' paths

IMAGE_BUILDER=buildah (no daemon, base image from Debian packages) or docker (the Dockerfiles' own public base).
Both read the same Dockerfiles with the repository's root as context.
"""

import hashlib
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast, get_args

from tests.cluster import baseimage, packages
from tests.cluster.archives import rename_image
from tests.cluster.places import REPOSITORY, ClusterError, cache_dir, say
from tests.cluster.processes import run

Builder = Literal["buildah", "docker"]
BUILD_LIMIT_SECONDS: Final = 3600.0
KEPT_ARCHIVES: Final = 3
KEPT_LAYERS: Final = 100
CERTIFICATES: Final = Path("/etc/ssl/certs")


class ImageError(ClusterError):
    """An image could not be built or loaded."""


@dataclass(frozen=True, slots=True)
class Image:
    """One image of ours: its short name, the Dockerfile (relative to the repository) and the tag it gets."""

    name: str
    dockerfile: str
    tag: str = "dev"

    @property
    def repository(self) -> str:
        return f"docker.io/specdec/{self.name}"

    @property
    def reference(self) -> str:
        return f"{self.repository}:{self.tag}"


IMAGES: Final = {
    image.name: image
    for image in (
        Image("operator", "images/operator/Dockerfile"),
        Image("simulator", "images/simulator/Dockerfile"),
        Image("loadtest", "images/loadtest/Dockerfile"),
        Image("vllm", "images/vllm/Dockerfile", "dev-cpu"),
    )
}
DEFAULT: Final = ("operator", "simulator", "loadtest")


def find(name: str) -> Image:
    """The image of that short name."""
    if name not in IMAGES:
        raise ImageError(f"no image {name!r}; there are: {', '.join(IMAGES)}")
    return IMAGES[name]


def chosen_builder() -> Builder:
    """IMAGE_BUILDER, or docker where its engine answers, else buildah."""
    value = os.environ.get("IMAGE_BUILDER") or ("docker" if _docker_answers() else "buildah")
    if value not in get_args(Builder):
        raise ImageError(f"IMAGE_BUILDER is {value!r}; set it to one of {', '.join(get_args(Builder))}")
    return cast(Builder, value)


def build(image: Image, builder: Builder, context: Path = REPOSITORY) -> Path:
    """The archive of `image`; built where the cache lacks it."""
    dockerfile = context / image.dockerfile
    if not dockerfile.exists():
        raise ImageError(f"there is no {image.dockerfile}, so {image.reference} cannot be built")
    folder = cache_dir() / "images"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{image.name}_{image.tag}-{_key(dockerfile, context, builder)}.tar"
    if target.exists():
        target.touch()
        return target
    say(f"building {image.reference} with {builder}")
    began = time.monotonic()
    {"buildah": _buildah, "docker": _docker}[builder](image, dockerfile, context, target)
    say(f"built {image.reference} in {time.monotonic() - began:.0f} s, {target.stat().st_size / 1e6:.0f} MB")
    for old in sorted(folder.glob(f"{image.name}_{image.tag}-*.tar"), key=lambda file: file.stat().st_mtime):
        if len(list(folder.glob(f"{image.name}_{image.tag}-*.tar"))) > KEPT_ARCHIVES:
            old.unlink()
    return target


def inputs(dockerfile: Path, context: Path) -> Iterator[Path]:
    """The files that `dockerfile` copies from `context`, in order; what git ignores is left out."""
    for source in _copied(dockerfile.read_text()):
        found = context / source
        if not found.exists() and not any(context.glob(source)):
            raise ImageError(f"{dockerfile} copies {source}, which is not in {context}")
        yield from sorted(_files(found, context) if found.exists() else context.glob(source))


def _copied(text: str) -> list[str]:
    """The sources of all COPY and ADD lines that take from the context."""
    sources = []
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True) if line.upper().lstrip().startswith(("COPY ", "ADD ")) else []
        flags = [word for word in words if word.startswith("--")]
        if words and not any(flag.startswith("--from") for flag in flags):
            sources += [word for word in words[1:-1] if word not in flags]
    return sources


def _files(found: Path, context: Path) -> list[Path]:
    if found.is_file():
        return [found]
    command = ["git", "-C", str(context), "ls-files", "-co", "--exclude-standard", "-z", "--", str(found)]
    listed = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    if listed.returncode == 0:
        return [context / name for name in listed.stdout.split("\0") if name and (context / name).is_file()]
    return [file for file in found.rglob("*") if file.is_file() and "__pycache__" not in file.parts]


def _key(dockerfile: Path, context: Path, builder: Builder) -> str:
    digest = hashlib.sha256(f"{builder} {baseimage.key()}\n".encode() + dockerfile.read_bytes())
    for file in inputs(dockerfile, context):
        mode = file.stat().st_mode & 0o111
        digest.update(f"{file.relative_to(context)} {mode:o} {file.stat().st_size}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def _buildah(image: Image, dockerfile: Path, context: Path, target: Path) -> None:
    packages.install("images")
    base = baseimage.reference()
    store = _store()
    if base not in run("buildah", *store, "images", "--format", "{{.Name}}:{{.Tag}}"):
        pulled = run("buildah", *store, "pull", "--quiet", f"oci-archive:{baseimage.archive()}").strip()
        run("buildah", *store, "tag", pulled, base)
    log = target.with_suffix(".log")
    command = [
        *(
            "buildah",
            *store,
            "bud",
            "--isolation",
            "chroot",
            "--network",
            "host",
            "--layers",
            "--force-rm",
            "--format",
            "oci",
        ),
        # the base has Debian's certificates; a machine behind a proxy needs its own
        *("--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro", "--build-arg", f"BASE_IMAGE={base}"),
        *("--pull-never", "--file", str(dockerfile), "--tag", image.reference, str(context)),
    ]
    _logged(command, log)
    _bound_store(store)
    raw = target.with_suffix(".raw")
    raw.unlink(missing_ok=True)
    run(
        *("buildah", *store, "push", "--quiet", image.reference),
        f"oci-archive:{raw}:{image.tag}",
        limit=BUILD_LIMIT_SECONDS,
    )
    rename_image(raw, target, image.reference)
    raw.unlink()


def _docker(image: Image, dockerfile: Path, context: Path, target: Path) -> None:
    short = image.reference.removeprefix("docker.io/")
    _logged(["docker", "build", "--file", str(dockerfile), "--tag", short, str(context)], target.with_suffix(".log"))
    fresh = target.with_suffix(".new")
    run("docker", "save", "--output", fresh, short, limit=BUILD_LIMIT_SECONDS)
    fresh.replace(target)


def _docker_answers() -> bool:
    try:
        return subprocess.run(["docker", "info"], check=False, capture_output=True, timeout=20).returncode == 0
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False


def _store() -> list[str]:
    root = cache_dir() / "buildah"
    return ["--root", str(root / "store"), "--runroot", str(root / "run"), "--storage-driver", "overlay"]


def _bound_store(store: Sequence[str]) -> None:
    """Drop layers of earlier builds once many have piled up; the next build starts from the base again."""
    if len(run("buildah", *store, "images", "--all", "--quiet").split()) > KEPT_LAYERS:
        run("buildah", *store, "rmi", "--prune", "--force")


def _logged(command: Sequence[str], log: Path) -> None:
    with log.open("w") as out:
        try:
            done = subprocess.run(command, check=False, stdout=out, stderr=out, timeout=BUILD_LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            raise ImageError(f"{command[0]} took longer than {BUILD_LIMIT_SECONDS:.0f} s; read {log}") from None
    if done.returncode != 0:
        last = "".join(log.read_text(errors="replace").splitlines(keepends=True)[-8:])
        raise ImageError(f"{command[0]} failed ({done.returncode}); its last words, all of them in {log}:\n{last}")


def main() -> int:
    """Entry point of `python -m tests.cluster.images`."""
    names = sys.argv[1:] or DEFAULT
    try:
        builder = chosen_builder()
        for image in [find(name) for name in names]:
            print(build(image, builder), flush=True)
    except ClusterError as error:
        say(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
