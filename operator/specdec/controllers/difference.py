"""What to write and what to remove so that the children are as desired: pure, a list of named checks per child."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from specdec.api.manifest import Json, Manifest, Reference, reference
from specdec.api.names import ANNOTATION_DIGEST
from specdec.api.quantities import parse_quantity

# What holds state goes with its resource, never because a spec no longer asks for it: hours of downloads, the token.
NEVER_PRUNED: Final = frozenset({"PersistentVolumeClaim", "Secret", "ConfigMap"})
# Keys that tell the items of a list of the Kubernetes API apart, the first that all of them have.
IDENTITIES: Final = ("name", "mountPath", "containerPort", "topologyKey", "uid", "port", "key")
AMOUNTS: Final = frozenset({"limits", "requests", "sizeLimit"})

Check = Callable[[Json, Json], str | None]


@dataclass(frozen=True, slots=True)
class Write:
    """One child to apply. why: for the log. live: the child as seen, None where it is missing.

    vacant: the server has just said that nothing has its name.
    """

    manifest: Manifest
    why: str
    live: Json | None = None
    vacant: bool = False


@dataclass(frozen=True, slots=True)
class Difference:
    """Both in the order of acting. prune: children of ours that nothing asks for any more, as seen."""

    writes: tuple[Write, ...]
    prune: tuple[Json, ...]

    def __bool__(self) -> bool:
        return bool(self.writes or self.prune)


def difference(desired: Sequence[Manifest], seen: Iterable[Json]) -> Difference:
    """Compare what is desired with the children that exist, as the API server returns them."""
    present = {reference(body): body for body in seen}
    wanted = {manifest.reference for manifest in desired}
    owners = {owner["uid"] for manifest in desired for owner in manifest.body["metadata"]["ownerReferences"]}
    writes = (_write(manifest, present.get(manifest.reference)) for manifest in desired)
    return Difference(
        writes=tuple(write for write in writes if write is not None),
        prune=tuple(body for ref, body in present.items() if ref not in wanted and _prunable(ref, body, owners)),
    )


def _write(manifest: Manifest, live: Json | None) -> Write | None:
    if live is None:
        return Write(manifest, "missing")
    why = next(filter(None, (check(manifest.body, live) for check in CHECKS)), None)
    return Write(manifest, why, live) if why else None


def _rendered_differently(wanted: Json, live: Json) -> str | None:
    digests = [(body["metadata"].get("annotations") or {}).get(ANNOTATION_DIGEST) for body in (wanted, live)]
    return None if digests[0] == digests[1] else "desired otherwise"


def _changed_by_others(wanted: Json, live: Json) -> str | None:
    where = unmet(wanted, live)
    return f"changed by others at {where}" if where is not None else None


CHECKS: Final[tuple[Check, ...]] = (_rendered_differently, _changed_by_others)


def unmet(wanted: Any, live: Any, path: str = "") -> str | None:
    """Path of the first thing in `wanted` that `live` does not have; what others added beside it does not count."""
    if wanted == live:
        return None
    if isinstance(wanted, dict) and isinstance(live, dict):
        return _first(unmet(value, live.get(key), f"{path}.{key}") for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(live, list):
        return _unmet_items(wanted, live, path)
    # The server drops what says nothing: an empty struct or string, a false, a zero.
    same = (live is None and not wanted) or _same_amount(path, wanted, live)
    return None if same else path


def _unmet_items(wanted: list[Any], live: list[Any], path: str) -> str | None:
    identity = next((key for key in IDENTITIES if _tells_apart(wanted, key)), None)
    if identity is not None:
        known = {item.get(identity): item for item in live if isinstance(item, dict)}
        return _first(unmet(i, known.get(i[identity]), f"{path}[{i[identity]}]") for i in wanted)
    if len(wanted) != len(live):
        return path
    return _first(unmet(item, live[i], f"{path}[{i}]") for i, item in enumerate(wanted))


def _tells_apart(items: list[Any], key: str) -> bool:
    """A list may name port 53 twice, once for each protocol."""
    values = [item[key] for item in items if isinstance(item, dict) and isinstance(item.get(key), str | int)]
    return bool(items) and len(set(values)) == len(items)


def _first(found: Iterable[str | None]) -> str | None:
    return next((where for where in found if where is not None), None)


def _same_amount(path: str, wanted: Any, live: Any) -> bool:
    """The server writes amounts its own way: "1000m" becomes "1"."""
    if live is None or not AMOUNTS & set(path.split(".")):
        return False
    try:
        return parse_quantity(wanted) == parse_quantity(live)
    except ValueError:
        return False


def _prunable(ref: Reference, body: Json, owners: Collection[str]) -> bool:
    """Copied labels do not make an object ours, only its owner does."""
    metadata = body["metadata"]
    ours = any(owner["uid"] in owners for owner in metadata.get("ownerReferences") or ())
    return ours and ref.kind not in NEVER_PRUNED and not metadata.get("deletionTimestamp")
