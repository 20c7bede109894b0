"""Figures with intervals that mean what they say."""

import numpy as np
import pytest

from loadtests.stats import Estimate, Observed, percentile, ratio_percent, relative_gain, weighted_mean

CHANCE = 7


def chance() -> np.random.Generator:
    return np.random.default_rng(CHANCE)


def drawn(mean: float, seed: int, blocks: int = 24, drift: float = 0.0) -> Observed:
    """Requests of one run: what a block of five seconds has in common varies by `drift`, the rest by 1."""
    random = np.random.default_rng(seed)
    common = np.repeat(random.normal(0, drift, blocks), 20) if drift else 0.0
    values = mean + common + random.normal(0, 1, blocks * 20)
    return Observed.of(list(values), [5 * (n // 20) + 0.1 for n in range(blocks * 20)])


@pytest.mark.parametrize("drift", [0.0, 1.0], ids=["independent requests", "requests served together are alike"])
def test_intervals_hold_the_truth_as_often_as_they_claim(drift: float) -> None:
    held = 0
    for seed in range(120):
        found = weighted_mean(drawn(50.0, seed, drift=drift), chance())
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 50.0 <= found.high
    assert held / 120 >= 0.88


def test_short_runs_get_a_figure_but_no_interval() -> None:
    found = weighted_mean(drawn(50.0, 1, blocks=3), chance())
    assert found is not None
    assert found.value == pytest.approx(50, abs=1)
    assert found.low is None


def test_weights_count() -> None:
    found = weighted_mean(Observed.of([10.0, 20.0], [0.0, 1.0], [3.0, 1.0]), chance())
    assert found == Estimate(12.5)


def test_percentiles_agree_with_numpy_and_lie_in_their_interval() -> None:
    values = drawn(50.0, 3)
    found = percentile(values, 95, chance())
    assert found is not None
    assert found.value == pytest.approx(float(np.percentile(values.values, 95)))
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high


def test_nothing_observed_is_not_zero() -> None:
    nothing = Observed.of([], [])
    assert percentile(nothing, 50, chance()) is None
    assert weighted_mean(nothing, chance()) is None
    assert relative_gain(nothing, drawn(1.0, 1), chance()) is None


def test_a_gain_is_seen_and_noise_is_not() -> None:
    faster = relative_gain(drawn(40.0, 1), drawn(50.0, 2), chance())
    assert faster is not None
    assert faster.value == pytest.approx(20, abs=1)
    assert faster.low is not None
    assert faster.low > 15
    same = relative_gain(drawn(50.0, 1), drawn(50.0, 2), chance())
    assert same is not None
    assert same.low is not None
    assert same.high is not None
    assert same.low < 0 < same.high


def test_a_load_that_both_twins_meet_does_not_widen_the_gain() -> None:
    shared = np.repeat(np.random.default_rng(5).normal(0, 10, 24), 20)
    at = [5 * (n // 20) + 0.1 for n in range(480)]
    slow, fast = Observed.of(list(100 + shared), at), Observed.of(list(0.8 * (100 + shared)), at)
    found = relative_gain(fast, slow, chance())
    assert found is not None
    assert found.low == pytest.approx(20)
    assert found.high == pytest.approx(20)


def test_ratios_of_two_runs_combine_both_uncertainties() -> None:
    found = ratio_percent(Estimate(50, 47, 53), Estimate(100, 96, 104))
    assert found is not None
    assert found.value == 50
    assert found.low == pytest.approx(50 - np.hypot(3, 2))
    assert ratio_percent(Estimate(1), Estimate(0)) is None
