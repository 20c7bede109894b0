"""A schedule of K by batch size, and the request that changes it (docs/engine-contract.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

MAX_BODY_BYTES: Final = 64 * 1024
MAX_ENTRIES: Final = 512
MAX_REVISION: Final = 2**53 - 1
OFF_K: Final = 0
REQUEST_FIELDS: Final = frozenset({"revision", "ifRevision", "off", "entries"})
ENTRY_FIELDS: Final = ("fromBatch", "toBatch", "numSpeculativeTokens")


class Refusal(Exception):
    """Why a request was refused: HTTP status, reason of the contract, message and, where there is one, the field."""

    def __init__(self, status: int, reason: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.status, self.reason, self.message, self.field = status, reason, message, field

    def body(self) -> dict[str, Any]:
        error = {"reason": self.reason, "message": self.message}
        return {"error": error | ({"field": self.field} if self.field is not None else {})}


def invalid(message: str, field: str | None = None) -> Refusal:
    return Refusal(400, "InvalidSchedule", message, field)


def unavailable(message: str) -> Refusal:
    return Refusal(503, "EngineUnavailable", message)


@dataclass(frozen=True)
class Schedule:
    """K at each batch size. table: shape (max_batch,), K at batch 1, 2, ..., max_batch; all 0 when off."""

    off: bool
    table: tuple[int, ...]

    @classmethod
    def switched_off(cls, max_batch: int) -> Schedule:
        return cls(True, (OFF_K,) * max_batch)

    def entries(self) -> list[dict[str, int]]:
        """Runs of equal K; none when off."""
        found: list[dict[str, int]] = []
        start = 1
        for k, run in groupby(() if self.off else self.table):
            end = start + len(list(run)) - 1
            found.append(dict(zip(ENTRY_FIELDS, (start, end, k), strict=True)))
            start = end + 1
        return found

    def lookup(self) -> list[int]:
        """The form that vLLM's scheduler indexes by batch size; index 0 is never used."""
        return [OFF_K, *self.table]


@dataclass(frozen=True)
class Change:
    """A well-formed request to change the schedule."""

    revision: int
    if_revision: int | None
    schedule: Schedule


def change(request: object, *, start_k: int, max_batch: int) -> Change:
    """The change that `request`, decoded JSON, asks for. Raises Refusal (400) naming the field."""
    if not isinstance(request, Mapping):
        raise invalid("the body must be a JSON object")
    _only(request, REQUEST_FIELDS, prefix="")
    revision = _integer(request, "revision", 1, MAX_REVISION)
    if_revision = _integer(request, "ifRevision", 0, MAX_REVISION) if "ifRevision" in request else None
    return Change(revision, if_revision, _schedule(request, start_k, max_batch))


def decode(body: bytes) -> object:
    """`body` as JSON, stricter than the standard library: no NaN, no field twice, no text that UTF-8 cannot hold.

    Integers come out within a revision's bounds and one beyond, which is as wrong as the one that was sent but fits the
    message to the engine. Raises Refusal (400).
    """

    def constant(name: str) -> None:
        raise invalid(f"{name} is not JSON")

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise invalid("the same field stands twice in one object")
        return found

    try:
        found = json.loads(body, parse_constant=constant, parse_int=_bounded, object_pairs_hook=unique)
        json.dumps(found, ensure_ascii=False).encode()
        return found
    except (ValueError, RecursionError) as error:
        raise invalid(f"the body is not JSON: {error}") from error


def _bounded(digits: str) -> int:
    return max(-MAX_REVISION - 1, min(MAX_REVISION + 1, int(digits)))


def _schedule(request: Mapping[str, object], start_k: int, max_batch: int) -> Schedule:
    off = request.get("off", False)
    entries = request.get("entries", [])
    if not isinstance(off, bool):
        raise invalid("must be true or false", "off")
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise invalid("must be a list", "entries")
    if off:
        if entries:
            raise invalid("must be absent or empty when off is true", "entries")
        return Schedule.switched_off(max_batch)
    return Schedule(False, _table(entries, start_k, max_batch))


def _table(entries: Sequence[object], start_k: int, max_batch: int) -> tuple[int, ...]:
    if not entries:
        raise invalid(f"must cover the batch sizes 1 to {max_batch}; to switch speculation off, set off", "entries")
    if len(entries) > MAX_ENTRIES:
        raise invalid(f"has {len(entries)} entries, at most {MAX_ENTRIES} are allowed", "entries")
    table: list[int] = []
    for index, entry in enumerate(entries):
        table += _tier(entry, f"entries[{index}]", first=len(table) + 1, start_k=start_k, max_batch=max_batch)
    if len(table) < max_batch:
        raise invalid(f"ends at {len(table)}, but must cover batch sizes up to {max_batch}", _last_field(entries))
    return tuple(table)


def _tier(entry: object, where: str, *, first: int, start_k: int, max_batch: int) -> list[int]:
    if not isinstance(entry, Mapping):
        raise invalid("must be an object", where)
    _only(entry, frozenset(ENTRY_FIELDS), prefix=f"{where}.")
    low = _integer(entry, "fromBatch", 1, max_batch, f"{where}.")
    if low != first:
        what = "overlaps the entry before" if low < first else "leaves a gap"
        raise invalid(f"is {low} and {what}: the next batch size is {first}", f"{where}.fromBatch")
    high = _integer(entry, "toBatch", low, max_batch, f"{where}.")
    k = _integer(entry, "numSpeculativeTokens", 1, start_k, f"{where}.")
    return [k] * (high - low + 1)


def _last_field(entries: Sequence[object]) -> str:
    return f"entries[{len(entries) - 1}].toBatch"


def _only(found: Mapping[Any, object], known: frozenset[str], prefix: str) -> None:
    unknown = sorted(set(found) - known)
    if unknown:
        raise invalid(f"unknown field; known are {', '.join(sorted(known))}", f"{prefix}{unknown[0]}"[:200])


def _integer(found: Mapping[str, object], name: str, low: int, high: int, prefix: str = "") -> int:
    where = prefix + name
    if name not in found:
        raise invalid("is missing", where)
    value = found[name]
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid("must be an integer", where)
    if not low <= value <= high:
        raise invalid(f"is {value}, but must be between {low} and {high}", where)
    return value
