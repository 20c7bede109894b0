"""The start-up schedule, whatever the sizes."""

from hypothesis import given
from hypothesis import strategies as st

from specdec.desired.start import every_k


@given(max_k=st.integers(1, 7), max_batch=st.integers(1, 1024))
def test_it_names_every_k_that_there_is_room_for_and_keeps_the_start_value_nearly_everywhere(
    max_k: int, max_batch: int
) -> None:
    schedule = every_k(max_k, max_batch)
    named = min(max_k, max_batch)
    if schedule is None:
        assert named == 1
        return
    assert schedule.max_batch == max_batch
    assert schedule.ks == tuple(range(max_k - named + 1, max_k + 1))
    assert schedule.table().count(max_k) == max_batch - named + 1
    assert list(schedule.table()) == sorted(schedule.table(), reverse=True)
