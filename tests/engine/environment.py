"""Where the engine's Python environment lies, and what must surround a process in it."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PLUGIN: Final = ROOT / "images" / "vllm"
RIG: Final = Path(__file__).resolve().parent / "rig"
PLUGINS: Final = ("specdec_engine", "specdec_http")
RIG_PLUGINS: Final = ("rig_fast_start", "rig_acceptance", "rig_http")


@dataclass(frozen=True, slots=True)
class EngineEnvironment:
    """A virtual environment with vLLM for CPU. overlays: folders that hide parts of it, first wins."""

    folder: Path
    overlays: tuple[Path, ...] = ()

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def site(self) -> Path:
        return self.folder / "lib" / "python3.11" / "site-packages"

    def variables(self, metadata: Path) -> dict[str, str]:
        """Environment of an engine process. metadata: where `write_entry_points` wrote."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        path = [*self.overlays, PLUGIN, RIG, metadata]
        return kept | {
            "PYTHONPATH": os.pathsep.join(map(str, path)),
            "LD_PRELOAD": str(self.folder / "lib" / "libiomp5.so"),
            "OMP_NUM_THREADS": "1",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "CUDA_VISIBLE_DEVICES": "",
            "HF_HUB_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            # Kept between runs: without it vLLM inspects each model in a process of its own, 20 s at the first start.
            "VLLM_CACHE_ROOT": str(self.folder / "cache"),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "VLLM_PLUGINS": ",".join((*PLUGINS, *RIG_PLUGINS)),
        }


def cache_folder() -> Path:
    configured = os.environ.get("SPECDEC_CACHE")
    if configured:
        return Path(configured)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "specdec"


def installed() -> EngineEnvironment:
    """The environment that `make engine-env` makes; makes it where it is missing."""
    script = PLUGIN / "cpu" / "environment.sh"
    folder = subprocess.run([script], check=True, stdout=subprocess.PIPE, text=True, timeout=1200).stdout.strip()
    return EngineEnvironment(Path(folder))


def models(environment: EngineEnvironment) -> Path:
    """Folder of the small models, made once per content of the script that makes them."""
    script = RIG / "models.py"
    folder = cache_folder() / "engine" / f"models-{sha256(script.read_bytes()).hexdigest()[:12]}"
    if not (folder / ".complete").exists():
        print(f"==> making the small models in {folder}", file=sys.stderr)
        subprocess.run([environment.python, script, folder], check=True, timeout=300)
        (folder / ".complete").touch()
    return folder


def write_entry_points(folder: Path) -> None:
    """Let vLLM find the plugins where they stand in the checkout: metadata as an installed distribution has it."""
    groups = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]["entry-points"]
    sections = (f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()) for group, points in groups.items())
    rig = (RIG / "entry_points.txt").read_text()
    for name, text in (("specdec_vllm", "\n".join(sections)), ("specdec_rig", rig)):
        distribution = folder / f"{name}-0.0.0.dist-info"
        distribution.mkdir(parents=True, exist_ok=True)
        (distribution / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.0.0\n")
        (distribution / "entry_points.txt").write_text(text)
