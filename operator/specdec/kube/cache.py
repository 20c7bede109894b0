"""What the watches have shown, pruned on the way in: the snapshot that a reconcile reads costs no request.

Objects rest as compact JSON bytes, a third of what nested dictionaries take, and are parsed for the one pass that
needs them. Pods keep only the fields that say how they fare.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from specdec.api.names import LABEL_OWNER
from specdec.kube.kinds import POD, RESOURCE, Kind, Name

Json = dict[str, Any]

_POD_METADATA: Final = (
    "name", "namespace", "uid", "resourceVersion", "labels", "annotations", "ownerReferences",
    "creationTimestamp", "deletionTimestamp",
)  # fmt: skip
_POD_STATUS: Final = (
    "phase", "reason", "message", "podIP", "startTime", "conditions", "containerStatuses", "initContainerStatuses",
)  # fmt: skip

GONE_REMEMBERED: Final = 256


@dataclass(frozen=True, slots=True)
class Stored:
    """One object at rest. owner: the resource it is mapped to. version: its resourceVersion."""

    owner: Name
    uid: str
    version: str
    body: bytes

    def parse(self) -> Json:
        parsed: Json = json.loads(self.body)
        return parsed


@dataclass(frozen=True, slots=True)
class Seen:
    """One resource with all that is mapped to it, as of one instant.

    resource: None when it does not exist. children: everything of ours but pods.
    """

    resource: Json | None
    children: tuple[Json, ...]
    pods: tuple[Json, ...]


@dataclass(slots=True)
class Cache:
    """Objects by kind and name, and by the resource that owns them. Calls `changed` with the owner's name."""

    changed: Callable[[Name], None]
    _objects: dict[tuple[Kind, Name], Stored] = field(default_factory=dict)
    _owned: defaultdict[Name, set[tuple[Kind, Name]]] = field(default_factory=lambda: defaultdict(set))
    # Version of the end, by uid: a list, or the answer to a write, may arrive after the watch has told of it.
    _gone: dict[str, str] = field(default_factory=dict)

    def put(self, kind: Kind, body: Json, *, quietly: bool = False) -> None:
        """Take what a watch, a list or an answer to a write has shown, unless a newer version or its end is known.

        An object that has another owner now, or none, is gone to the one it had.
        quietly: the caller knows already, the owner is not woken.
        """
        key, owner, metadata = (kind, _name(body)), _owner(kind, body), body["metadata"]
        known = self._objects.get(key)
        latest = self._gone.get(metadata["uid"]) if known is None else known.version
        if latest is not None and not _newer(metadata["resourceVersion"], latest):
            return
        if known is not None and known.owner != owner:
            self._bury(known.uid, metadata["resourceVersion"])
            self._forget(key)
        if owner is None:
            return
        pruned = json.dumps(prune(kind, body), separators=(",", ":")).encode()
        self._objects[key] = Stored(owner, metadata["uid"], metadata["resourceVersion"], pruned)
        self._owned[owner].add(key)
        if not quietly:
            self.changed(owner)

    def drop(self, kind: Kind, body: Json) -> None:
        """Take a deletion; one of an earlier object of the same name is ignored."""
        key, uid = (kind, _name(body)), body["metadata"]["uid"]
        self._bury(uid, body["metadata"]["resourceVersion"])
        known = self._objects.get(key)
        if known is not None and known.uid == uid:
            self._forget(key)

    def keep_only(self, kind: Kind, namespace: str | None, uids: frozenset[str], version: str) -> int:
        """Drop what a full list of `kind` no longer shows: a watch can miss a deletion. Returns how many.

        version: the list's resourceVersion; what came to be after it is none of the list's business.
        """
        gone = [
            key
            for key, stored in self._objects.items()
            if key[0] is kind
            and namespace in (None, key[1].namespace)
            and stored.uid not in uids
            and not _newer(stored.version, version)
        ]
        for key in gone:
            self._forget(key)
        return len(gone)

    def seen(self, name: Name) -> Seen:
        """The snapshot of one resource."""
        stored = self._objects.get((RESOURCE, name))
        mapped = [(kind, self._objects[kind, child].parse()) for kind, child in sorted(self._mapped(name), key=str)]
        return Seen(
            resource=stored.parse() if stored else None,
            children=tuple(body for kind, body in mapped if kind is not POD),
            pods=tuple(body for kind, body in mapped if kind is POD),
        )

    def _bury(self, uid: str, version: str) -> None:
        self._gone[uid] = version
        if len(self._gone) > GONE_REMEMBERED:
            del self._gone[next(iter(self._gone))]

    def _mapped(self, owner: Name) -> Iterator[tuple[Kind, Name]]:
        return (key for key in self._owned.get(owner, ()) if key[0] is not RESOURCE)

    def _forget(self, key: tuple[Kind, Name]) -> None:
        owner = self._objects.pop(key).owner
        self._owned[owner].discard(key)
        if not self._owned[owner]:
            del self._owned[owner]
        self.changed(owner)


def prune(kind: Kind, body: Json) -> Json:
    """`body` without what no one here reads."""
    if kind is POD:
        return {
            "apiVersion": kind.api_version,
            "kind": kind.name,
            "metadata": _picked(body["metadata"], _POD_METADATA),
            "spec": _picked(body.get("spec", {}), ("nodeName",)),
            "status": _picked(body.get("status", {}), _POD_STATUS),
        }
    metadata = {key: value for key, value in body["metadata"].items() if key != "managedFields"}
    return {"apiVersion": kind.api_version, "kind": kind.name, **body, "metadata": metadata}


def _picked(source: Json, keys: Iterable[str]) -> Json:
    return {key: source[key] for key in keys if key in source}


def _name(body: Json) -> Name:
    return Name(body["metadata"]["namespace"], body["metadata"]["name"])


def _owner(kind: Kind, body: Json) -> Name | None:
    """A child is mapped by label: it also finds what lost its owner reference."""
    if kind is RESOURCE:
        return _name(body)
    owner = (body["metadata"].get("labels") or {}).get(LABEL_OWNER)
    return Name(body["metadata"]["namespace"], owner) if owner else None


def _newer(version: str, than: str) -> bool:
    # Kubernetes promises numbers that grow (KEP-5504, since 1.35); anything else is taken as newer.
    if version.isdigit() and than.isdigit():
        return int(version) > int(than)
    return version != than
