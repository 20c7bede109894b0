"""What the demo promises follows from the tables by hand-checkable arithmetic."""

from __future__ import annotations

from math import exp
from typing import Final

import pytest

from loadtests.plan import parse_plan
from tests.demo.engines import REPOSITORY
from tests.demo.predict import Expected, expect, margin_percent

ACCEPTANCE: Final = {"hard": (0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)}
PLAN: Final = parse_plan(
    {"phases": [{"name": "busy", "seconds": 10, "load": {"users": 8}, "mix": {"hard": 1}}]}, REPOSITORY
)


def without_prompts(batch: int, k: int, prompt: int) -> float:
    return 1.0 * batch * (k + 1)


def step_ms(batch: int, k: int, prompt: int) -> float:
    return without_prompts(batch, k, prompt) + prompt


def test_the_best_k_is_the_one_with_the_least_time_per_token() -> None:
    (row,) = expect(PLAN, without_prompts, ACCEPTANCE, 7)
    assert (row.phase, row.best_k) == ("busy", 1)
    assert (row.untuned_ms, row.tuned_ms) == pytest.approx((64 / 1.5, 16 / 1.5))


def test_prompts_take_their_time_with_any_k() -> None:
    """An answer waits for as many prompts as there are users, one per answer of theirs."""
    (bare,), (whole,) = (expect(PLAN, cost, ACCEPTANCE, 7) for cost in (without_prompts, step_ms))
    scenario = PLAN.scenario("hard")
    prompt, answer = round(scenario.prompt.median * exp(0.08)), scenario.output.median * exp(0.08)
    more = pytest.approx(8 * prompt / answer)
    assert whole.untuned_ms - bare.untuned_ms == more
    assert whole.tuned_ms - bare.tuned_ms == more


def test_the_margin_weighs_each_twin_by_its_own_tokens() -> None:
    rows = [Expected("busy", 40.0, 20.0, 1), Expected("calm", 10.0, 10.0, 7)]
    margin = margin_percent(rows, {"busy": 1.0, "calm": 1.0}, {"busy": 3.0, "calm": 1.0})
    assert margin == pytest.approx(100 * (1 - 17.5 / 25))


def test_an_open_loop_has_no_batch_to_predict_from() -> None:
    plan = parse_plan({"phases": [{"name": "open", "seconds": 10, "load": {"rate": 2}}]}, REPOSITORY)
    with pytest.raises(ValueError, match="closed loop"):
        expect(plan, step_ms, ACCEPTANCE, 7)
