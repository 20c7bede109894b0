"""A cost table fitted to measured steps."""

from __future__ import annotations

import numpy as np
import pytest

from specdec.tuning import cost_table
from specdec.tuning.cost_fit import FitError, MeasuredSteps, fit
from specdec.tuning.prior import along

BATCHES = (1.0, 4.0, 16.0, 64.0)


def true_ms(k: int, batch: float) -> float:
    verify = float(along(np.array([batch * (k + 1)]), (1, 64, 512), (8.0, 16.0, 60.0))[0])
    return verify + (1.0 + 0.02 * batch if k else 0.0)


def measured(noise: float = 0.0) -> list[MeasuredSteps]:
    chance = np.random.default_rng(1)
    return [
        MeasuredSteps(k, batch, true_ms(k, batch) * float(chance.normal(1.0, noise)), 100.0)
        for k in range(8)
        for batch in BATCHES
    ]


@pytest.mark.parametrize(("noise", "error"), [(0.0, 0.03), (0.03, 0.06)])
def test_step_times_are_found_again(noise: float, error: float) -> None:
    found = fit(measured(noise), 7)
    table = cost_table({"verify": found.verify, "draft": found.draft})
    for k in range(8):
        for batch in BATCHES:
            assert float(table.step_ms(k, np.array([batch]))[0]) == pytest.approx(true_ms(k, batch), rel=3 * error)
    assert found.median_error < error


def test_more_tokens_never_cost_less() -> None:
    found = fit(measured(0.2), 7)
    assert found.verify["ms"] == sorted(found.verify["ms"])


def test_too_little_is_refused() -> None:
    with pytest.raises(FitError, match="two K at two batch sizes"):
        fit([m for m in measured() if m.k == 3], 7)
