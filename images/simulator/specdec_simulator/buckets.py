"""Batch buckets and their labels, as docs/engine-contract.md sets them."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

BATCH_ENDS: Final = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)


def _labels() -> tuple[str, ...]:
    starts = (1, *(end + 1 for end in BATCH_ENDS))
    closed = tuple(
        str(end) if start == end else f"{start}-{end}" for start, end in zip(starts, BATCH_ENDS, strict=False)
    )
    return (*closed, f"{starts[-1]}+")


BATCH_LABELS: Final = _labels()


def batch_bucket(batch: int) -> int:
    """Index into BATCH_LABELS for a step that schedules `batch` requests, 1 or more."""
    return bisect_left(BATCH_ENDS, batch)
