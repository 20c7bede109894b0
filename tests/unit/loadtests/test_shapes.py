"""How many requests arrive, and when."""

from itertools import pairwise
from random import Random
from statistics import mean, pstdev
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.plan import Load
from loadtests.shapes import arrivals, rate_of


def times(load: dict[str, Any], seconds: float, seed: int = 1) -> list[float]:
    whole = Load.model_validate(load)
    rate = rate_of(whole, seconds)
    assert rate is not None
    return list(arrivals(rate, seconds, whole.variation, Random(seed)))


@pytest.mark.parametrize(
    ("load", "expected"),
    [
        pytest.param({"rate": 20}, 4000, id="constant"),
        pytest.param({"ramp": {"start": 0, "end": 40}}, 4000, id="ramp"),
        pytest.param({"steps": [{"seconds": 50, "rate": 10}, {"seconds": 150, "rate": 30}]}, 5000, id="steps"),
        pytest.param({"diurnal": {"low": 5, "high": 25, "periodSeconds": 100}}, 3000, id="two fast days"),
        pytest.param({"burst": {"base": 5, "peak": 45, "everySeconds": 20, "forSeconds": 5}}, 3000, id="bursts"),
    ],
)
def test_as_many_arrive_as_the_shape_says(load: dict[str, Any], expected: int) -> None:
    assert len(times(load, 200)) == pytest.approx(expected, rel=0.06)


def test_a_ramp_brings_most_at_its_end() -> None:
    found = times({"ramp": {"start": 0, "end": 40}}, 200)
    assert sum(t > 100 for t in found) == pytest.approx(3 * sum(t <= 100 for t in found), rel=0.15)


def test_a_day_begins_at_its_lowest() -> None:
    found = times({"diurnal": {"low": 0, "high": 40, "periodSeconds": 200}}, 200)
    assert sum(t < 20 for t in found) < 0.1 * sum(90 < t < 110 for t in found)


@pytest.mark.parametrize("variation", [0.0, 1.0, 3.0])
def test_gaps_vary_as_asked(variation: float) -> None:
    found = times({"rate": 20, "variation": variation}, 1000)
    gaps = [b - a for a, b in pairwise(found)]
    assert pstdev(gaps) / mean(gaps) == pytest.approx(variation, abs=0.12 * max(variation, 1.0))


@given(st.floats(0.1, 50), st.floats(1, 60), st.integers(0, 1000))
def test_arrivals_are_in_order_and_in_the_phase(rate: float, seconds: float, seed: int) -> None:
    found = list(arrivals(lambda _: rate, seconds, 1.0, Random(seed)))
    assert found == sorted(found)
    assert all(0 <= t <= seconds for t in found)


def test_closed_loops_have_no_rate() -> None:
    assert rate_of(Load(users=3), 10) is None
