"""Other vLLMs over the same environment: the next release's Python code on this one's binaries, and patched copies.

An overlay is a folder that stands before the environment on the module path. Each lies in the cache under the content
that it is made from, and is made once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Final

from specdec_vllm.patches import apply
from tests.engine.environment import PLUGIN, EngineEnvironment

REQUIREMENTS: Final = Path(__file__).with_name("overlays.txt")
INSTALLED_RELEASE: Final = "0.32.0"
NEXT_RELEASE: Final = "0.33.0"
SOURCE_SUFFIXES: Final = frozenset({".py", ".json", ".jinja", ".typed"})


def with_triton(environment: EngineEnvironment) -> EngineEnvironment:
    """Triton beside vLLM: with its interpreter (see the rig's backend) vLLM's second model runner works on a CPU."""

    def make(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as downloads:
            _unpack(_download(environment, "triton", Path(downloads)), folder, lambda name: True)
        _compile(environment, folder)

    folder = _made("triton", REQUIREMENTS.read_bytes(), environment, make)
    return replace(environment, overlays=(*environment.overlays, folder))


def next_release(environment: EngineEnvironment) -> EngineEnvironment:
    """The next release's Python code; its compiled parts are those of the installed one."""

    def make(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as downloads:
            wheel = _download(environment, "vllm", Path(downloads))
            _unpack(wheel, folder, lambda name: name.startswith("vllm/") and Path(name).suffix in SOURCE_SUFFIXES)
            _unpack(_download(environment, "orjson", Path(downloads)), folder, lambda name: True)
        installed = environment.site / "vllm"
        for library in installed.rglob("*.so"):
            place = folder / "vllm" / library.relative_to(installed)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(library)
        _name_distribution(folder, NEXT_RELEASE)
        _compile(environment, folder)

    folder = _made(f"vllm-{NEXT_RELEASE}", REQUIREMENTS.read_bytes(), environment, make)
    return replace(environment, overlays=(folder, *environment.overlays))


def patched(environment: EngineEnvironment, release: str) -> EngineEnvironment:
    """A copy of the vLLM of `environment` with the patches made; unchanged files share their content on disk."""
    source = next((o for o in environment.overlays if (o / "vllm").is_dir()), environment.site)

    def make(folder: Path) -> None:
        shutil.copytree(source / "vllm", folder / "vllm", copy_function=os.link, symlinks=True)
        apply(folder / "vllm", release)
        _name_distribution(folder, release)

    patches = b"".join(path.read_bytes() for path in sorted((PLUGIN / "specdec_vllm" / "patches").glob("*.py")))
    folder = _made(f"patched-{release}", patches + str(source).encode(), environment, make)
    return replace(environment, overlays=(folder, *environment.overlays))


def _made(name: str, content: bytes, environment: EngineEnvironment, make: Callable[[Path], None]) -> Path:
    folder = environment.folder.parent / f"{environment.folder.name}-{name}-{sha256(content).hexdigest()[:8]}"
    if not (folder / ".complete").exists():
        print(f"==> making {folder}", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        make(folder)
        (folder / ".complete").touch()
    return folder


def _download(environment: EngineEnvironment, name: str, folder: Path) -> Path:
    """The wheel of `name`, its hash checked."""
    blocks = REQUIREMENTS.read_text().replace("\\\n", " ").splitlines()
    pinned = folder / "requirements.txt"
    pinned.write_text("\n".join(line for line in blocks if line.startswith(f"{name}==")))
    command = [str(environment.python), "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir",
               "--only-binary", ":all:", "--require-hashes", "-r", str(pinned), "-d", str(folder)]  # fmt: skip
    subprocess.run(command, check=True, timeout=900)
    (wheel,) = folder.glob(f"{name}-*.whl")
    return wheel


def _unpack(wheel: Path, folder: Path, wanted: Callable[[str], bool]) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder, [name for name in archive.namelist() if wanted(name)])


def _name_distribution(folder: Path, release: str) -> None:
    """vLLM asks for its own distribution, and takes `+cpu` in its version for the platform."""
    metadata = folder / f"vllm-{release}+cpu.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {release}+cpu\n")


def _compile(environment: EngineEnvironment, folder: Path) -> None:
    command = [str(environment.python), "-m", "compileall", "-q", "-j", "2", str(folder)]
    subprocess.run(command, check=False, timeout=600, stdout=subprocess.DEVNULL)
