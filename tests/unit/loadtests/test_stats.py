"""Figures with intervals that mean what they say."""

import numpy as np
import pytest

from loadtests.stats import (
    Estimate,
    Observed,
    Span,
    binned_percentile,
    percentile,
    rate,
    ratio_percent,
    relative_gain,
    speedup,
    weighted_mean,
)

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


def test_binned_percentiles_are_as_sure_as_those_of_all_values() -> None:
    values = drawn(50.0, 5)
    exact, binned = percentile(values, 95, chance()), binned_percentile(values, 95, chance())
    assert exact is not None
    assert binned is not None
    assert binned.value == exact.value
    assert binned.low == pytest.approx(exact.low, rel=0.01)
    assert binned.high == pytest.approx(exact.high, rel=0.01)
    assert binned_percentile(Observed.of([], []), 95, chance()) is None
    even = binned_percentile(Observed.of([20.0] * 40, [float(t) for t in range(40)]), 95, chance())
    assert even is not None
    assert width(even) == 0
    assert even.low == pytest.approx(20.0)


def test_rates_hold_the_truth_as_often_as_they_claim() -> None:
    held = 0
    for seed in range(120):
        counts = np.random.default_rng(seed).poisson(40, 24)  # per block of five seconds: 8 a second
        at = [5 * block + 0.1 for block, count in enumerate(counts) for _ in range(count)]
        found = rate(Observed.of([1.0] * len(at), at), [Span(0.0, 120.0)], chance())
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 8.0 <= found.high
    assert held / 120 >= 0.88


def test_time_saved_is_told_as_speed_up() -> None:
    found = speedup(Estimate(50.0, 20.0, 75.0))
    assert found == Estimate(2.0, 1.25, 4.0)
    assert speedup(Estimate(-100.0)) == Estimate(0.5)
    assert speedup(None) is None


def test_blocks_that_lie_half_outside_do_not_look_like_slow_ones() -> None:
    spans = [Span(start + 2.0, start + 12.0) for start in range(0, 120, 12)]
    at = [t / 10 for t in range(1200) if t / 10 % 12 >= 2.0]
    found = rate(Observed.of([1.0] * len(at), at), spans, chance())
    assert found.value == pytest.approx(10)
    assert found.low == pytest.approx(10, rel=0.02)
    assert found.high == pytest.approx(10, rel=0.02)


def test_that_phases_differ_is_no_uncertainty() -> None:
    quick, slow = drawn(10.0, 1, blocks=12), drawn(90.0, 2, blocks=12)
    at = [float(5 * block) for block in [*quick.blocks, *(slow.blocks + 12)]]
    values, strata = [*quick.values, *slow.values], [1] * quick.values.size + [2] * slow.values.size
    pooled = weighted_mean(Observed.of(values, at), chance())
    told_apart = weighted_mean(Observed.of(values, at, strata=strata), chance())
    assert pooled is not None
    assert told_apart is not None
    assert width(pooled) > 20
    assert width(told_apart) < 0.5
    assert told_apart.value == pytest.approx(50, abs=0.2)


def width(estimate: Estimate) -> float:
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.high - estimate.low


def test_strata_of_few_blocks_are_drawn_together() -> None:
    values, at = [10.0, 10.0, 90.0, 90.0, 50.0, 50.0], [0.0, 5.0, 10.0, 15.0, 20.0, 25.0]
    found = weighted_mean(Observed.of(values, at, strata=[1, 1, 2, 2, 3, 3]), chance())
    assert found is not None
    assert width(found) > 20
