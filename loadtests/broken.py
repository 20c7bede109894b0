"""Did requests fail because something is broken, rather than by the load? Then what ran has measured nothing.

A server may well answer 429 or 503, or nothing in time, because there is too much to do. It refuses no connection and
closes none in mid-answer for that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from loadtests.failures import REMEDY, Kind
from loadtests.records import RequestRecord

NOT_BY_LOAD: Final = frozenset(
    {
        Kind.NAME,
        Kind.REFUSED,
        Kind.TLS,
        Kind.UNAUTHORIZED,
        Kind.NOT_FOUND,
        Kind.BAD_REQUEST,
        Kind.CLOSED,
        Kind.STREAM_ERROR,
        Kind.NOT_OPENAI,
        Kind.NO_USAGE,
    }
)


def nothing_succeeded(records: Sequence[RequestRecord]) -> str | None:
    """What failed and the remedies, where every request did; None also where none was sent."""
    if not records or any(record.failure is None for record in records):
        return None
    return f"every request failed:{_told(records)}"


def not_by_load(records: Sequence[RequestRecord], may_fail: int) -> str | None:
    """What failed and the remedies, where more than `may_fail` requests did for other reasons than the load."""
    counted = [record for record in records if not record.warmup]
    # A few errors may come from too much to do, but a server that answers nothing else is broken.
    kinds = NOT_BY_LOAD | ({Kind.SERVER_ERROR} if nothing_succeeded(counted) else set())
    failed = [record for record in counted if record.failure in kinds]
    if len(failed) <= may_fail:
        return None
    return f"{len(failed)} of {len(counted)} requests failed, and not by the load:{_told(failed)}"


def _told(failed: Sequence[RequestRecord]) -> str:
    details = {record.failure: record.detail for record in reversed(failed)}  # the first of each kind
    return "".join(
        f"\n       {number} x {kind} ({details[kind] or 'no detail'}): {REMEDY[Kind(kind)]}"
        for kind, number in Counter(record.failure for record in failed if record.failure).most_common()
    )
