"""The metric families as a page shows them, and as the operator's parser reads them."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from specdec.engine.page import parse
from specdec_vllm.counters import SCALARS, SEQUENCE, STEPS, CellCounts, CounterFile, CounterReader, Snapshot
from specdec_vllm.exposition import ExactCounters

CELL = CellCounts(3, 4, True, 10, 0.5, 95, 64, 80, 200, (80, 80, 80, 0, 0, 0, 0), (60, 40, 20, 0, 0, 0, 0))


def rendered(*cells: CellCounts) -> str:
    registry = CollectorRegistry()
    registry.register(ExactCounters("m", lambda: {"0": Snapshot(4, 17.0, cells)}))
    return generate_latest(registry).decode()


def test_a_cell_on_the_page() -> None:
    page = rendered(CELL)
    labels = 'batch="9-12",engine="0",k="3",model_name="m",phase="mixed"'
    assert f"specdec:steps_total{{{labels}}} 10.0" in page
    assert f'specdec:accepted_tokens_total{{{labels},position="1"}} 40.0' in page
    assert 'position="3"' not in page
    assert 'specdec:schedule_revision{engine="0"} 4.0' in page
    assert 'specdec:schedule_changed_timestamp_seconds{engine="0"} 17.0' in page


def test_the_operator_reads_the_cell_back() -> None:
    page = parse(b"vllm:generation_tokens_total 200\n" + rendered(CELL).encode())
    (cell,) = page.cells
    assert (cell.k, cell.bucket, cell.mixed, cell.steps, cell.prefill_tokens) == (3, 4, True, 10, 64)
    assert cell.verified[:4] == (80, 80, 80, 0)
    assert page.schedule_revision == 4


def test_a_file_of_another_layout_is_refused(tmp_path: Path) -> None:
    counters = CounterFile(tmp_path / "counters", 7)
    counters.sequence[1] = 99
    with pytest.raises(ValueError, match="layout 99"):
        CounterReader(counters.path)


def test_a_reader_never_sees_half_a_step(tmp_path: Path) -> None:
    counters = CounterFile(tmp_path / "counters", 7)
    row = counters.layout.index(7, 0, False)
    reader, done = CounterReader(counters.path), threading.Event()

    def write() -> None:
        for _ in range(20_000):
            counters.sequence[SEQUENCE] += 1
            counters.slots[row + STEPS] += 1
            counters.slots[row + SCALARS] += 1
            counters.sequence[SEQUENCE] += 1
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = 0
    while not done.is_set():
        for cell in reader.read().cells:
            assert cell.steps == cell.verified[0] >= seen
            seen = int(cell.steps)
    writer.join()
    assert reader.read().cells[0].steps == 20_000


def test_a_writer_that_died_half_way_leaves_the_last_whole_reading(tmp_path: Path) -> None:
    counters = CounterFile(tmp_path / "counters", 7)
    counters.schedule_changed(3, 5.0)
    reader = CounterReader(counters.path)
    assert reader.read().revision == 3
    counters.sequence[SEQUENCE] += 1
    assert reader.read() == Snapshot(3, 5.0, ())
