"""One narrow change to one function of vLLM, guarded by the exact text that it was made for. Works on text alone."""

from __future__ import annotations

import ast
import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path


class PatchError(RuntimeError):
    """vLLM's source is not what a patch was made for."""


class PatchState(enum.Enum):
    NEEDED = "needed"
    APPLIED = "applied"
    NOT_NEEDED = "not needed in this release"
    UNKNOWN = "unknown source"


@dataclass(frozen=True)
class SourcePatch:
    """One change.

    path: file inside the package; function: its qualified name. digests: release -> sha256 of the function's text as
    published; a release that is missing there does the same by itself. changes: (text, its replacement), each text
    occurring once.
    """

    name: str
    path: str
    function: str
    digests: Mapping[str, str] = field(hash=False)
    changes: tuple[tuple[str, str], ...]

    def read(self, folder: Path) -> str:
        try:
            return (folder / self.path).read_text()
        except OSError as error:
            raise PatchError(f"{self.path} is missing in {folder}: install vLLM there anew, it is not whole") from error

    def unknown(self, version: str) -> str:
        return (
            f"patch {self.name}: {self.function} in {self.path} of vLLM {version} is not the text that it was made for "
            f"(published in {', '.join(self.digests)}). Install one of these releases anew, or a newer specdec-vllm."
        )


def function_text(source: str, qualified_name: str) -> str:
    """Text of a function or method, decorators left out. Raises PatchError when there is none of that name."""
    body: list[ast.stmt] = ast.parse(source).body
    node: ast.stmt | None = None
    for name in qualified_name.split("."):
        node = next((n for n in body if getattr(n, "name", None) == name), None)
        body = getattr(node, "body", [])
    text = ast.get_source_segment(source, node) if node is not None else None
    if text is None:
        raise PatchError(f"no function {qualified_name} in the source")
    return text


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def state(patch: SourcePatch, source: str, release: str) -> PatchState:
    """How the file with text `source` stands to `patch`."""
    if release not in patch.digests:
        return PatchState.NOT_NEEDED
    try:
        text = function_text(source, patch.function)
    except PatchError:
        return PatchState.UNKNOWN
    if digest(text) == patch.digests[release]:
        return PatchState.NEEDED
    # A mark alone may be an older version's: what counts is that undoing this patch gives the published text.
    return PatchState.APPLIED if digest(_undone(patch, text)) == patch.digests[release] else PatchState.UNKNOWN


def patched(patch: SourcePatch, source: str) -> str:
    """`source` with the patch made. Raises PatchError when a text to be replaced does not occur exactly once."""
    before = function_text(source, patch.function)
    after = before
    for old, new in patch.changes:
        if after.count(old) != 1:
            raise PatchError(f"patch {patch.name}: {old.strip()!r} occurs {after.count(old)} times in {patch.function}")
        after = after.replace(old, new)
    return source.replace(before, after)


def _undone(patch: SourcePatch, text: str) -> str:
    for old, new in reversed(patch.changes):
        text = text.replace(new, old)
    return text
