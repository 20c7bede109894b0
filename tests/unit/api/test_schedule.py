"""A schedule covers every batch size once."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specdec.api.schedule import Schedule, ScheduleError, Tier, constant, from_table

TABLES = st.lists(st.integers(1, 7), min_size=1, max_size=300)


@given(TABLES)
def test_a_table_and_its_schedule_say_the_same(table: list[int]) -> None:
    schedule = from_table(table)
    assert list(schedule.table()) == table
    assert [schedule.k_at(batch) for batch in range(1, len(table) + 1)] == table
    assert schedule.k_at(len(table) + 1) == table[-1]
    assert schedule.ks == tuple(sorted(set(table)))
    assert schedule.max_batch == len(table)


@given(TABLES)
def test_it_has_no_more_tiers_than_it_needs(table: list[int]) -> None:
    ks = [tier.num_speculative_tokens for tier in from_table(table).tiers]
    assert all(one != other for one, other in pairwise(ks))


@pytest.mark.parametrize(
    ("tiers", "said"),
    [
        ((), "needs at least one tier"),
        ((Tier(2, 3, 7),), "does not continue at batch 1"),
        ((Tier(1, 3, 7), Tier(5, 6, 3)), "does not continue at batch 4"),
        ((Tier(1, 3, 7), Tier(3, 6, 3)), "does not continue at batch 4"),
        ((Tier(1, 0, 7),), "does not continue at batch 1"),
        ((Tier(1, 3, -1),), "has a K below 0"),
        ((Tier(1, 3, 7), Tier(4, 6, 0)), "cannot be one tier of several"),
    ],
)
def test_what_is_no_schedule_is_refused(tiers: tuple[Tier, ...], said: str) -> None:
    with pytest.raises(ScheduleError, match=said):
        Schedule(tiers)


def test_k_0_everywhere_is_the_off_switch() -> None:
    assert constant(0, 8).off
    assert not constant(1, 8).off
