"""Changes to vLLM's own source that the DeepSeek-V4 drafter needs; made when the image is built.

They are made in the files, not in the running process: vLLM keeps compiled graphs by the content of the files they came
from, so a change made at run time could be served from a cache that never saw it.

    python -m specdec_vllm.patches apply     change the installed vLLM, or say that nothing needs changing
    python -m specdec_vllm.patches check     tell each patch's state; status 1 unless all are in place
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

from specdec_vllm.patches.definitions import PATCHES
from specdec_vllm.patches.source import PatchError, PatchState, SourcePatch, patched, state
from specdec_vllm.releases import release

__all__ = ["PATCHES", "PatchError", "PatchState", "SourcePatch", "apply", "in_place", "states", "vllm_folder"]

IN_PLACE = frozenset({PatchState.APPLIED, PatchState.NOT_NEEDED})


def vllm_folder() -> Path:
    """Where the vLLM of this environment lies, found without importing it."""
    spec = importlib.util.find_spec("vllm")
    if spec is None or not spec.submodule_search_locations:
        raise PatchError("no vLLM in this environment; run this with the Python that vLLM is installed in")
    return Path(next(iter(spec.submodule_search_locations)))


def states(folder: Path, version: str) -> dict[SourcePatch, PatchState]:
    """State of each patch in the vLLM at `folder`. Raises UntestedRelease."""
    public = release(version)
    return {patch: state(patch, patch.read(folder), public) for patch in PATCHES}


def apply(folder: Path, version: str) -> dict[SourcePatch, PatchState]:
    """Make every patch that is still needed; what was found before. Raises PatchError before anything is written."""
    found = states(folder, version)
    changed: dict[Path, str] = {}
    for patch, seen in found.items():
        if seen is PatchState.UNKNOWN:
            raise PatchError(patch.unknown(version))
        if seen is PatchState.NEEDED:
            path = folder / patch.path
            changed[path] = patched(patch, changed.get(path, patch.read(folder)))
    for path, text in changed.items():
        replace(path, text)
    return found


def replace(path: Path, text: str) -> None:
    """A new file in the place of the old: a copy that shares its content on disk keeps the old one."""
    beside = path.with_name(f"{path.name}.specdec")
    beside.write_text(text)
    beside.chmod(path.stat().st_mode)
    beside.replace(path)


@functools.cache
def in_place() -> bool:
    """Whether the vLLM of this environment hands over what the drafter needs."""
    import vllm

    return IN_PLACE.issuperset(states(vllm_folder(), vllm.__version__).values())
