"""A cost table from a file: what lies between and beyond its knots, and the two ways to write the full block."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from specdec.tuning import PriorError, cost_table
from specdec.tuning.prior import along

ROWS = {"1": [1.0, 1.1, 1.05], "2": [1.2, 1.4, 1.6]}
FULL = [[1.1, 1.2, 1.3], [1.3, 1.5, 1.7]]


def read(full: Any = None) -> Any:
    draft = {"batch": [1, 2, 4], "ms_by_k": ROWS} | ({} if full is None else {"ms_full_block": full})
    return cost_table({"verify": {"tokens": [1, 64, 512], "ms": [9.0, 12.0, 11.0]}, "draft": draft})


def test_a_last_segment_that_falls_goes_on_level() -> None:
    """A draft pass of 1.1 ms at 2 requests and 1.05 at 4 is noise; its slope would be below zero at 60 requests."""
    batch = np.array([1.0, 4.0, 256.0, 4096.0])
    for k in (0, 1, 2):
        assert (read([ROWS["1"], ROWS["1"]]).step_ms(k, batch) >= 9.0).all()
    assert along(np.array([3.0, 256.0]), (1, 2, 4), (1.0, 1.1, 1.05)) == pytest.approx([1.075, 1.05])


def test_a_last_segment_that_rises_goes_on_with_its_slope() -> None:
    assert along(np.array([2.5, 4.0, 256.0]), (1, 2, 4), (1.2, 1.4, 1.6)) == pytest.approx([1.45, 1.6, 26.8])


@pytest.mark.parametrize(
    "full",
    [
        pytest.param(FULL, id="a list"),
        pytest.param({"started at 2": FULL}, id="a list with a name"),
        pytest.param({"1": FULL[0], "2": FULL[1]}, id="by K"),
        pytest.param({"2": FULL[1], "1": FULL[0]}, id="by K in any order"),
    ],
)
def test_the_full_block_has_a_row_per_k_however_it_is_written(full: Any) -> None:
    assert read(full).draft_ms == tuple(map(tuple, FULL))


def test_without_a_full_block_the_longest_draft_stands_for_it() -> None:
    assert read().draft_ms == (tuple(ROWS["2"]),) * 2


@pytest.mark.parametrize("full", [{"1": FULL[0], "3": FULL[1]}, {"1": FULL[0]}, {}, FULL[:1]])
def test_a_full_block_with_a_gap_is_refused(full: Any) -> None:
    with pytest.raises(PriorError, match="ms_full_block needs one row per K, 2 in all"):
        read(full)
