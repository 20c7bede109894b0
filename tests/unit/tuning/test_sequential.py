"""An interval that holds at every look: how often the truth ever leaves it, and how soon it is narrow."""

from __future__ import annotations

from math import inf, log

import numpy as np
import pytest

from specdec.tuning.sequential import EFFECT_SD, Running

ALPHA = 0.1


def strength(seen: Running, mean: float) -> float:
    """Log of the martingale against `mean` being the true one; the interval holds all means where it is below
    log(1 / alpha)."""
    if seen.count < 2 or seen.squares <= 0.0:
        return 0.0
    weight = 1.0 / EFFECT_SD**2
    spread = weight / (seen.count + weight)
    scatter, away = seen.squares / seen.count, (seen.mean - mean) ** 2
    return 0.5 * log(spread) + 0.5 * seen.count * log((scatter + away) / (scatter + away * spread))


def looks(values: np.ndarray) -> list[Running]:
    seen, at = Running(), []
    for value in values:
        seen = seen.added(float(value))
        at.append(seen)
    return at


def ever_outside(values: np.ndarray, truth: float) -> bool:
    return any(abs(seen.mean - truth) > seen.half_width(ALPHA) for seen in looks(values))


def test_the_truth_ever_leaves_the_interval_less_often_than_promised() -> None:
    chance = np.random.default_rng(1)
    runs = [ever_outside(chance.normal(0.02, 0.03, 200), 0.02) for _ in range(300)]
    assert sum(runs) / len(runs) <= ALPHA


def test_looking_all_the_time_at_a_plain_interval_would_break_that_promise() -> None:
    chance = np.random.default_rng(1)

    def outside(values: np.ndarray) -> bool:
        return any(
            abs(seen.mean) > 1.645 * (seen.squares / seen.count / seen.count) ** 0.5 for seen in looks(values)[9:]
        )

    runs = [outside(chance.normal(0.0, 0.03, 200)) for _ in range(300)]
    assert sum(runs) / len(runs) > 2 * ALPHA


def test_the_mean_and_scatter_are_those_of_all_values() -> None:
    values = np.random.default_rng(2).normal(1.0, 2.0, 50)
    last = looks(values)[-1]
    assert last.mean == pytest.approx(values.mean())
    assert last.squares / last.count == pytest.approx(values.var())


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 1.0, 1.0]], ids=["none", "one", "no scatter"])
def test_where_nothing_can_be_measured_nothing_is_said(values: list[float]) -> None:
    seen = looks(np.array([*values]))[-1] if values else Running()
    assert seen.half_width(ALPHA) == inf
    assert strength(seen, 0.0) == 0.0


def test_the_interval_ends_where_the_evidence_reaches_its_strength() -> None:
    seen = looks(np.random.default_rng(3).normal(0.1, 0.2, 40))[-1]
    edge = seen.mean + seen.half_width(ALPHA)
    assert strength(seen, edge) == pytest.approx(log(1 / ALPHA))
    assert strength(seen, edge + 0.01) > log(1 / ALPHA) > strength(seen, edge - 0.01)
