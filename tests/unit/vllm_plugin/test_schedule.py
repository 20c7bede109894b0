"""What a PUT may say, and which field is named when it may not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specdec_vllm.schedule import MAX_REVISION, Refusal, Schedule, change, decode


def entry(low: object, high: object, k: object) -> dict[str, object]:
    return {"fromBatch": low, "toBatch": high, "numSpeculativeTokens": k}


def parsed(**request: Any) -> Schedule:
    return change({"revision": 1} | request, start_k=7, max_batch=8).schedule


def refused(**request: Any) -> tuple[int, str | None]:
    with pytest.raises(Refusal) as refusal:
        change({"revision": 1} | request, start_k=7, max_batch=8)
    return refusal.value.status, refusal.value.field


def test_entries_become_a_table() -> None:
    assert parsed(entries=[entry(1, 3, 7), entry(4, 8, 2)]).table == (7, 7, 7, 2, 2, 2, 2, 2)


def test_off_is_k_0_everywhere() -> None:
    assert parsed(off=True) == parsed(off=True, entries=[]) == Schedule(True, (0,) * 8)


@given(st.lists(st.integers(1, 7), min_size=8, max_size=8))
def test_a_schedule_survives_the_way_there_and_back(table: list[int]) -> None:
    schedule = Schedule(False, tuple(table))
    assert parsed(entries=schedule.entries()) == schedule
    assert schedule.lookup()[1:] == table


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"revision": 0, "off": True}, "revision"),
        ({"revision": MAX_REVISION + 1, "off": True}, "revision"),
        ({"revision": True, "off": True}, "revision"),
        ({"revision": 1.0, "off": True}, "revision"),
        ({"ifRevision": None, "off": True}, "ifRevision"),
        ({"off": 1}, "off"),
        ({"entries": "no"}, "entries"),
        ({"entries": []}, "entries"),
        ({}, "entries"),
        ({"entries": [entry(1, 1, 1)] * 513}, "entries"),
        ({"entries": [7]}, "entries[0]"),
        ({"entries": [entry(2, 8, 1)]}, "entries[0].fromBatch"),
        ({"entries": [entry(1, 9, 1)]}, "entries[0].toBatch"),
        ({"entries": [entry(1, 4, 1), entry(5, 3, 1)]}, "entries[1].toBatch"),
        ({"entries": [entry(1, 8, "1")]}, "entries[0].numSpeculativeTokens"),
        ({"entries": [{"fromBatch": 1, "toBatch": 8}]}, "entries[0].numSpeculativeTokens"),
        ({"entries": [entry(1, 8, 1) | {"k": 1}]}, "entries[0].k"),
    ],
)
def test_the_field_at_fault_is_named(request_: dict[str, object], field: str) -> None:
    assert refused(**request_) == (400, field)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"a": Infinity}', b'{"a": 1, "a": 2}', b"[" * 100_000])
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(Refusal) as refusal:
        decode(body)
    assert refusal.value.status == 400


def test_a_list_is_no_request() -> None:
    with pytest.raises(Refusal, match="JSON object"):
        change([], start_k=7, max_batch=8)
