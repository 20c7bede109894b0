"""The schedule of docs/engine-contract.md on the engine's side: check what is put, keep what is in force."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import groupby
from typing import Any, Final

MAX_BODY_BYTES: Final = 64 * 1024
MAX_ENTRIES: Final = 512
MAX_REVISION: Final = 2**53 - 1
_FIELDS: Final = frozenset({"revision", "ifRevision", "off", "entries"})
_ENTRY_FIELDS: Final = ("fromBatch", "toBatch", "numSpeculativeTokens")


class ScheduleRefused(Exception):
    """Nothing was changed. `field` names the part of the body at fault, where there is one."""

    def __init__(self, status: HTTPStatus, reason: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.status, self.reason, self.message, self.field = status, reason, message, field


def _invalid(message: str, field: str | None = None) -> ScheduleRefused:
    return ScheduleRefused(HTTPStatus.BAD_REQUEST, "InvalidSchedule", message, field)


def _conflict(message: str) -> ScheduleRefused:
    return ScheduleRefused(HTTPStatus.CONFLICT, "RevisionConflict", message)


@dataclass(frozen=True, slots=True)
class Put:
    """A well-formed body. table: shape (max_batch + 1,), K by batch size; element 0 is never used."""

    revision: int
    if_revision: int | None
    table: tuple[int, ...]


def parse_put(body: bytes, *, max_batch: int, max_k: int) -> Put:
    """Check the body of a PUT; raises ScheduleRefused."""
    if len(body) > MAX_BODY_BYTES:
        message = f"the body exceeds {MAX_BODY_BYTES} bytes"
        raise ScheduleRefused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "TooLarge", message)
    content = _json_object(body)
    unknown = sorted(set(content) - _FIELDS)
    if unknown:
        raise _invalid(f"unknown field; known are {', '.join(sorted(_FIELDS))}", str(unknown[0])[:100])
    revision = _integer(content, "revision", 1, MAX_REVISION, "revision")
    if_revision = _integer(content, "ifRevision", 0, MAX_REVISION, "ifRevision") if "ifRevision" in content else None
    off = content.get("off", False)
    if not isinstance(off, bool):
        raise _invalid("must be true or false", "off")
    entries = content.get("entries")
    if off:
        if entries:
            raise _invalid("must be absent or empty when off is true", "entries")
        return Put(revision, if_revision, (0,) * (max_batch + 1))
    return Put(revision, if_revision, _table(entries, max_batch, max_k))


def _json_object(body: bytes) -> Mapping[str, Any]:
    try:
        content = json.loads(body, parse_constant=_no_constant, object_pairs_hook=_unique)
        json.dumps(content, ensure_ascii=False).encode()  # half a character pair is no text that an answer could quote
    except (ValueError, RecursionError) as error:
        raise _invalid(f"not JSON: {error}") from error
    if not isinstance(content, dict):
        raise _invalid("the body must be a JSON object")
    return content


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a field stands twice in one object")
    return content


def _integer(content: Mapping[str, Any], name: str, lowest: int, highest: int, field: str) -> int:
    value = content.get(name)
    if type(value) is not int or not lowest <= value <= highest:
        raise _invalid(f"must be an integer from {lowest} to {highest}", field)
    return value


def _table(entries: Any, max_batch: int, max_k: int) -> tuple[int, ...]:
    if not isinstance(entries, list) or not entries:
        raise _invalid(f"needed unless off is true: every batch size from 1 to {max_batch}", "entries")
    if len(entries) > MAX_ENTRIES:
        raise _invalid(f"at most {MAX_ENTRIES} entries", "entries")
    table = [0]
    for index, entry in enumerate(entries):
        field = f"entries[{index}]"
        if not isinstance(entry, dict):
            raise _invalid("must be an object", field)
        unknown = sorted(set(entry) - set(_ENTRY_FIELDS))
        if unknown:
            raise _invalid(f"unknown field; known are {', '.join(_ENTRY_FIELDS)}", f"{field}.{unknown[0]}"[:100])
        expected = len(table)
        start = _integer(entry, "fromBatch", 1, max_batch, f"{field}.fromBatch")
        if start != expected:
            raise _invalid(f"must be {expected}: no gap, no overlap, ascending", f"{field}.fromBatch")
        end = _integer(entry, "toBatch", start, max_batch, f"{field}.toBatch")
        k = _integer(entry, "numSpeculativeTokens", 1, max_k, f"{field}.numSpeculativeTokens")
        table += [k] * (end - start + 1)
    if len(table) <= max_batch:
        message = f"must be {max_batch}, the largest batch of this engine"
        raise _invalid(message, f"entries[{len(entries) - 1}].toBatch")
    return tuple(table)


class LiveSchedule:
    """The schedule in force. table: as in `Put`; the engine reads it at every step. changed_at: Unix time, seconds."""

    def __init__(self, table: Sequence[int], started: float) -> None:
        self.table = tuple(table)
        self.revision = 0
        self.changed_at = started

    @property
    def off(self) -> bool:
        return not any(self.table)

    def check(self, put: Put) -> bool:
        """Whether `put` changes anything; raises ScheduleRefused on a conflict."""
        if put.revision == self.revision and put.table == self.table:
            return False
        if put.if_revision is not None and put.if_revision != self.revision:
            raise _conflict(f"ifRevision is {put.if_revision}, revision {self.revision} is in force")
        if put.revision <= self.revision:
            raise _conflict(f"revision must be greater than {self.revision}, which is in force with other content")
        return True

    def apply(self, put: Put, now: float) -> None:
        """Put in force. now: seconds since the epoch."""
        self.table, self.revision, self.changed_at = put.table, put.revision, now

    def answer(self) -> dict[str, Any]:
        """The `schedule` object of the contract."""
        return {
            "revision": self.revision,
            "off": self.off,
            "entries": [] if self.off else list(_entries(self.table)),
            "changedAt": _rfc3339(self.changed_at),
        }


def _entries(table: Sequence[int]) -> Sequence[dict[str, int]]:
    entries, start = [], 1
    for k, run in groupby(table[1:]):
        end = start + sum(1 for _ in run) - 1
        entries.append({"fromBatch": start, "toBatch": end, "numSpeculativeTokens": k})
        start = end + 1
    return entries


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
