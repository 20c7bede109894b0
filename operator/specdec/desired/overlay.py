"""The user's overlay on the pod template."""

from __future__ import annotations

from typing import Any, Final

# What identifies an item of a list, as in Kubernetes' own merge keys; the first that all items bear is taken.
MERGE_KEYS: Final = ("name", "mountPath", "containerPort", "topologyKey", "ip", "key")


def merged(under: Any, over: Any) -> Any:
    """`over` laid upon `under`: structs merge, lists of identified items merge by identity, all else is replaced.

    A null in `over` removes what it lies upon. Neither argument is changed.
    """
    if isinstance(under, dict) and isinstance(over, dict):
        kept = {key: value for key, value in under.items() if key not in over}
        laid = {key: merged(under.get(key), value) for key, value in over.items() if value is not None}
        return {key: (kept | laid)[key] for key in [*under, *over] if key in kept or key in laid}
    if isinstance(over, dict):
        return merged({}, over)
    if isinstance(under, list) and isinstance(over, list) and (key := _merge_key([*under, *over])):
        return _merged_items(under, over, key)
    return over


def _merge_key(items: list[Any]) -> str | None:
    if not all(isinstance(item, dict) for item in items):
        return None
    return next((key for key in MERGE_KEYS if all(key in item for item in items)), None)


def _merged_items(under: list[Any], over: list[Any], key: str) -> list[Any]:
    upon = {item[key]: item for item in over}
    known = {item[key] for item in under}
    changed = [merged(item, upon[item[key]]) if item[key] in upon else item for item in under]
    return [*changed, *(merged({}, item) for item in over if item[key] not in known)]
