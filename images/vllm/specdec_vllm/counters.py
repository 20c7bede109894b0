"""Exact counters in a file that engine and API servers map into memory.

One engine core writes, any number of API servers read. The sequence number in front is odd while the writer is at work
(a seqlock), so a reader sees all counters of one instant between two steps and the engine never waits for a reader.

Slots of 8 bytes: sequence, layout version, k_max, schedule revision, Unix time of its last change, 3 unused; then one
row per cell, in the order of `CounterLayout.index`.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from operator import add
from pathlib import Path
from typing import Final

BATCH_BUCKET_ENDS: Final = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
BUCKETS: Final = len(BATCH_BUCKET_ENDS) + 1
BUCKETED_BATCHES: Final = BATCH_BUCKET_ENDS[-1] + 1
PHASES: Final = ("decode", "mixed")
LAYOUT_VERSION: Final = 1
SEQUENCE, VERSION, K_MAX, REVISION, CHANGED_AT, HEADER_SLOTS = 0, 1, 2, 3, 4, 8
STEPS, STEP_SECONDS, REQUESTS, PREFILL_TOKENS, DRAFTS, GENERATED_TOKENS, SCALARS = 0, 1, 2, 3, 4, 5, 6
SLOT_BYTES: Final = 8
READ_ATTEMPTS: Final = 200


def batch_labels() -> tuple[str, ...]:
    """Values of the label `batch`: "1", "2", "3-4", ..., "513+"."""
    starts = (1, *(end + 1 for end in BATCH_BUCKET_ENDS))
    closed = (str(e) if s == e else f"{s}-{e}" for s, e in zip(starts, BATCH_BUCKET_ENDS, strict=False))
    return (*closed, f"{starts[-1]}+")


def bucket_table() -> tuple[int, ...]:
    """Index of the bucket at each batch size below BUCKETED_BATCHES; any larger batch is in the last one."""
    ends = iter(enumerate(BATCH_BUCKET_ENDS))
    index, end = next(ends)
    table = [0]
    for batch in range(1, BUCKETED_BATCHES):
        if batch > end:
            index, end = next(ends)
        table.append(index)
    return tuple(table)


@dataclass(frozen=True)
class CounterLayout:
    """Where each cell lies, for an engine with start value `k_max`."""

    k_max: int

    @cached_property
    def row_slots(self) -> int:
        return SCALARS + 2 * self.k_max

    @property
    def cells(self) -> int:
        return (self.k_max + 1) * BUCKETS * len(PHASES)

    @property
    def size_bytes(self) -> int:
        return (HEADER_SLOTS + self.cells * self.row_slots) * SLOT_BYTES

    def index(self, k: int, bucket: int, mixed: bool) -> int:
        """First slot of a row."""
        return HEADER_SLOTS + ((k * BUCKETS + bucket) * len(PHASES) + mixed) * self.row_slots


@dataclass(frozen=True)
class CellCounts:
    """Counters of one (K, batch bucket, phase); verified, accepted: shape (k_max,), drafts per position."""

    k: int
    bucket: int
    mixed: bool
    steps: float
    step_seconds: float
    requests: float
    prefill_tokens: float
    drafts: float
    generated_tokens: float
    verified: tuple[float, ...]
    accepted: tuple[float, ...]


@dataclass(frozen=True)
class Snapshot:
    """All counters of one instant. changed_at: Unix time, 0 before the first change; cells: those that occurred."""

    revision: int
    changed_at: float
    cells: tuple[CellCounts, ...]


class CounterFile:
    """The writer's side. `slots` and `sequence` are two views of the same memory."""

    def __init__(self, path: Path, k_max: int) -> None:
        self.path, self.layout = path, CounterLayout(k_max)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        try:
            os.ftruncate(descriptor, self.layout.size_bytes)
            memory = memoryview(mmap.mmap(descriptor, self.layout.size_bytes))
        finally:
            os.close(descriptor)
        self._memory, self._row = memory, struct.Struct(f"{self.layout.row_slots}d")
        # Rows as they stand in the file, by first slot: quicker to add to than the file is to read.
        self._totals: dict[int, list[float]] = {}
        self._no_counts = (0.0,) * self.layout.row_slots
        self.slots = memory.cast("d")
        self.sequence = memory.cast("Q")
        self.sequence[VERSION], self.sequence[K_MAX] = LAYOUT_VERSION, k_max

    def add(self, row: int, amounts: list[float]) -> None:
        """Add to all counters of the row that starts at slot `row`. amounts: shape (row_slots,), in their order."""
        self._totals[row] = totals = list(map(add, self._totals.get(row) or self._no_counts, amounts))
        self.sequence[SEQUENCE] += 1
        self._row.pack_into(self._memory, row * SLOT_BYTES, *totals)
        self.sequence[SEQUENCE] += 1

    def schedule_changed(self, revision: int, changed_at: float) -> None:
        """Called between two steps."""
        self.sequence[SEQUENCE] += 1
        self.slots[REVISION], self.slots[CHANGED_AT] = float(revision), changed_at
        self.sequence[SEQUENCE] += 1

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


class CounterReader:
    """The readers' side of a file written by `CounterFile`. Raises OSError or ValueError for a file that is not one."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._memory = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        header = memoryview(self._memory).cast("Q")
        if header[VERSION] != LAYOUT_VERSION:
            raise ValueError(f"{path} has counter layout {header[VERSION]}, this plugin reads {LAYOUT_VERSION}")
        self._layout = CounterLayout(int(header[K_MAX]))
        self._last = Snapshot(0, 0.0, ())

    def read(self) -> Snapshot:
        """The counters now; those of the read before when the writer died half-way through an update."""
        for attempt in range(READ_ATTEMPTS):
            before = self._sequence()
            content = bytes(self._memory) if before % 2 == 0 else b""
            if content and self._sequence() == before:
                self._last = _decode(content, self._layout)
                break
            time.sleep(0 if attempt < READ_ATTEMPTS // 2 else 1e-5)
        return self._last

    def _sequence(self) -> int:
        return int.from_bytes(self._memory[:SLOT_BYTES], "little")


def _decode(content: bytes, layout: CounterLayout) -> Snapshot:
    slots = memoryview(content).cast("d")
    return Snapshot(int(slots[REVISION]), slots[CHANGED_AT], tuple(_cells(slots, layout)))


def _cells(slots: memoryview[float], layout: CounterLayout) -> Iterator[CellCounts]:
    end, k_max = SCALARS + layout.k_max, layout.k_max
    for k in range(k_max + 1):
        for bucket in range(BUCKETS):
            for mixed in (False, True):
                start = layout.index(k, bucket, mixed)
                if not slots[start + STEPS]:
                    continue
                row = slots[start : start + layout.row_slots].tolist()
                yield CellCounts(k, bucket, mixed, *row[:SCALARS], tuple(row[SCALARS:end]), tuple(row[end:]))
