"""The user's overlay on the pod template."""

from __future__ import annotations

from typing import Any, Final

# What identifies an item of a list, as in Kubernetes' own merge keys; the first that all items bear is taken.
MERGE_KEYS: Final = ("name", "mountPath", "containerPort", "topologyKey", "ip", "key")

# As in a strategic merge patch. A null would be shorter, but the API server drops nulls before anybody sees them.
DIRECTIVE: Final = "$patch"
DELETE: Final = "delete"
REPLACE: Final = "replace"


def merged(under: Any, over: Any) -> Any:
    """`over` laid upon `under`: structs merge, lists of identified items merge by identity, all else is replaced.

    A struct with `$patch: delete` removes the field or item that it lies upon, one with `$patch: replace` takes its
    place whole. Neither argument is changed.
    """
    if isinstance(over, dict):
        return _merged_struct(under if isinstance(under, dict) else {}, over)
    if isinstance(over, list):
        return _merged_list(under if isinstance(under, list) else [], over)
    return over


def _merged_struct(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    if over.get(DIRECTIVE) == REPLACE:
        under = {}
    kept = {key: value for key, value in under.items() if key not in over}
    laid = {key: merged(under.get(key), value) for key, value in over.items() if not _deletes(value)}
    return {key: (kept | laid)[key] for key in {**under, **over} if key in kept | laid and key != DIRECTIVE}


def _merged_list(under: list[Any], over: list[Any]) -> list[Any]:
    key = _merge_key([*under, *over])
    if key is None:
        return [merged(None, item) for item in over if not _deletes(item)]
    upon = {item[key]: item for item in over}
    known = {item[key] for item in under}
    changed = [merged(item, upon.get(item[key], {})) for item in under if not _deletes(upon.get(item[key]))]
    return [*changed, *(merged(None, item) for item in over if item[key] not in known and not _deletes(item))]


def _merge_key(items: list[Any]) -> str | None:
    if not all(isinstance(item, dict) for item in items):
        return None
    shared = (key for key in MERGE_KEYS if all(isinstance(item.get(key), str | int) for item in items))
    return next(shared, None)


def _deletes(value: Any) -> bool:
    return isinstance(value, dict) and value.get(DIRECTIVE) == DELETE
