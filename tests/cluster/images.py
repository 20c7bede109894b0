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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast, get_args

from tests.cluster import baseimage, builders
from tests.cluster.builders import ImageError
from tests.cluster.places import REPOSITORY, ClusterError, cache_dir, say

Builder = Literal["buildah", "docker"]
KEPT_ARCHIVES: Final = 3


@dataclass(frozen=True, slots=True)
class Image:
    """One image of ours: its short name, the Dockerfile (relative to the repository) and the tag it gets.

    base_of: the Dockerfile whose public base to use instead of its own; vLLM's own base would make the GPU variant.
    """

    name: str
    dockerfile: str
    tag: str = "dev"
    base_of: str | None = None

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
        Image("vllm", "images/vllm/Dockerfile", "dev-cpu", base_of="images/operator/Dockerfile"),
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
    value = os.environ.get("IMAGE_BUILDER") or ("docker" if builders.docker_answers() else "buildah")
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
    if builder == "docker":
        base = builders.public_base(context / image.base_of) if image.base_of else None
        builders.docker(dockerfile, context, image.reference, target, base)
    else:
        builders.buildah(dockerfile, context, image.reference, target)
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
