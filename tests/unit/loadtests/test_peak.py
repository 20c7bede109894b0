"""The search for the highest rate within the objectives, against servers whose limit is known."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.generator.job import Progress
from loadtests.peak import QueueWatch, Search, Trial, search, trial_plan
from loadtests.run import EnoughSeen
from tests.unit.loadtests.builders import plan


def server(limit: float) -> Callable[[float], Trial]:
    return lambda rate: Trial(rate, 1.0 if rate <= limit else 0.2, rate <= limit, saturated=False, on_time=True)


@given(st.floats(0.6, 400))
def test_the_limit_is_found_within_the_precision(limit: float) -> None:
    rate, at_limit, trials = search(server(limit), Search(precision=0.05))
    assert rate is not None
    assert rate <= limit <= rate * 1.051
    assert not at_limit
    assert len(trials) <= 17


def test_a_server_that_keeps_no_promise_has_no_peak() -> None:
    rate, _, trials = search(server(0.1), Search())
    assert rate is None
    assert len(trials) == 1


def test_a_server_beyond_the_range_is_said_to_be() -> None:
    rate, at_limit, _ = search(server(1e9), Search(high=64))
    assert rate == 64
    assert at_limit


def watch(queue: list[int]) -> QueueWatch:
    watching = QueueWatch()
    for t, waiting in enumerate(queue):
        watching("a", Progress(float(t), 1000 + waiting, 1000, 0, 0, 0.0))
    return watching


def test_a_queue_that_only_grows_ends_the_trial() -> None:
    with pytest.raises(EnoughSeen):
        watch(list(range(10, 200, 6)))


@pytest.mark.parametrize(
    "queue", [[40] * 60, [20, 30, 40, 30, 20] * 12, list(range(8))], ids=["steady", "waves", "small"]
)
def test_a_queue_that_does_not_keep_growing_ends_nothing(queue: list[int]) -> None:
    assert not watch(queue).saturated


def test_a_trial_is_the_first_phase_at_one_rate() -> None:
    made = trial_plan(plan({"name": "heavy", "load": {"users": 9}, "mix": {"code": 1}}, warmupSeconds=2), 3.0, 30.0)
    assert made.phases[0].load.rate == 3.0
    assert made.phases[0].mix == {"code": 1}
    assert made.seconds == 32
