"""What to write and what to remove so that the children are as desired: pure, one table of checks per child."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from specdec.api.manifest import Json, Manifest, Reference, reference
from specdec.api.names import ANNOTATION_DIGEST

# A claim holds hours of downloads: it goes with its resource, never because a spec no longer asks for it.
NEVER_PRUNED: Final = frozenset({"PersistentVolumeClaim", "Secret", "ConfigMap"})

Check = Callable[[Json, Json], str | None]


@dataclass(frozen=True, slots=True)
class Write:
    """One child to apply. why: for the log. present: whether it was seen, and so is known to be ours."""

    manifest: Manifest
    why: str
    present: bool


@dataclass(frozen=True, slots=True)
class Difference:
    """Both in the order of acting. prune: children of ours that nothing asks for any more, as seen."""

    writes: tuple[Write, ...]
    prune: tuple[Json, ...]

    def __bool__(self) -> bool:
        return bool(self.writes or self.prune)


def difference(desired: Sequence[Manifest], seen: Iterable[Json], settled: Callable[[Json], bool]) -> Difference:
    """Compare what is desired with what was seen.

    settled: whether an object stands exactly as the server stored it on our last write, whatever it made of our words.
    """
    present = {reference(body): body for body in seen}
    wanted = {manifest.reference for manifest in desired}
    writes = (_write(manifest, present.get(manifest.reference), settled) for manifest in desired)
    return Difference(
        writes=tuple(write for write in writes if write is not None),
        prune=tuple(body for ref, body in present.items() if ref not in wanted and _prunable(ref, body)),
    )


def _write(manifest: Manifest, present: Json | None, settled: Callable[[Json], bool]) -> Write | None:
    if present is None:
        return Write(manifest, "missing", present=False)
    if settled(present) and not _rendered_differently(manifest.body, present):
        return None
    why = next(filter(None, (check(manifest.body, present) for check in CHECKS)), None)
    return Write(manifest, why, present=True) if why else None


def _rendered_differently(wanted: Json, present: Json) -> str | None:
    digests = [(body["metadata"].get("annotations") or {}).get(ANNOTATION_DIGEST) for body in (wanted, present)]
    return None if digests[0] == digests[1] else "desired otherwise"


def _changed_by_others(wanted: Json, present: Json) -> str | None:
    where = unmet(wanted, present)
    return where and f"changed by others at {where}"


CHECKS: Final[tuple[Check, ...]] = (_rendered_differently, _changed_by_others)


def unmet(wanted: Any, present: Any, path: str = "") -> str | None:
    """Path of the first thing in `wanted` that `present` does not have; what others added beside it does not count.

    Lists of named items are compared by name, all others item by item.
    """
    if isinstance(wanted, dict):
        if not isinstance(present, dict):
            return None if not wanted and present is None else path
        found = (unmet(value, present.get(key), f"{path}.{key}") for key, value in wanted.items())
        return next((where for where in found if where is not None), None)
    if isinstance(wanted, list):
        return _unmet_items(wanted, present, path)
    return None if _same(wanted, present) else path


def _unmet_items(wanted: list[Any], present: Any, path: str) -> str | None:
    if not isinstance(present, list):
        return None if not wanted and present is None else path
    if wanted and all(isinstance(item, dict) and "name" in item for item in wanted):
        named = {item.get("name"): item for item in present if isinstance(item, dict)}
        pairs = [(item, named.get(item["name"]), f"[{item['name']}]") for item in wanted]
    elif len(wanted) != len(present):
        return path
    else:
        pairs = [(item, present[i], f"[{i}]") for i, item in enumerate(wanted)]
    found = (unmet(item, other, f"{path}{where}") for item, other, where in pairs)
    return next((where for where in found if where is not None), None)


def _same(wanted: Any, present: Any) -> bool:
    # The server drops what says nothing: an empty string, a false, a zero.
    return bool(wanted == present or (present is None and not wanted))


def _prunable(ref: Reference, body: Json) -> bool:
    return ref.kind not in NEVER_PRUNED and not body["metadata"].get("deletionTimestamp")
