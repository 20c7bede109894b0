"""A drafter that does not fit, or costs more than it brings, is switched off and tried again; one that pays stays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from specdec.api.schedule import constant
from specdec.tuning import (
    Constraint,
    Disruption,
    Hold,
    Kind,
    LatencyMetric,
    Limits,
    Mode,
    OnBrokenDrafter,
    Pairs,
    Reason,
    Switching,
    estimated_costs,
    estimated_prior,
    explain,
    prepared,
    summarise,
)
from tests.support.engines import BROKEN, CODE, START, Fleet, fleet

RISING = (0.28, 0.16, 0.11, 0.085, 0.07, 0.06, 0.054)


@pytest.mark.parametrize("switching", [Switching.LIVE, Switching.RESTART])
def test_a_drafter_that_does_not_fit_is_off_within_two_minutes(switching: Switching) -> None:
    limits = Limits(switching=switching, disruption=Disruption(1, True))
    running = fleet(profile=BROKEN, limits=limits)
    running.run(105, 20)
    last = running.decisions[-1]
    assert last.reason is Reason.BROKEN_DRAFTER
    assert last.kind is (Kind.DISABLE if switching is Switching.LIVE else Kind.RESTART)
    assert running.state.in_force.ks == ((0,) if switching is Switching.LIVE else (1,))


def test_a_broken_drafter_is_tried_again_after_an_hour_and_then_more_rarely() -> None:
    running = fleet(profile=BROKEN)
    running.run(3 * 3600, 20, every=30.0)
    kinds = [(d.kind, d.at) for d in running.decisions if d.kind in {Kind.DISABLE, Kind.ENABLE}]
    assert [kind for kind, _ in kinds[:4]] == [Kind.DISABLE, Kind.ENABLE, Kind.DISABLE, Kind.ENABLE][: len(kinds)]
    assert kinds[1][1] - kinds[0][1] == pytest.approx(3600, abs=60)
    running.run(1800, 20, every=30.0)
    off, on = [(d.kind, d.at) for d in running.decisions if d.kind in {Kind.DISABLE, Kind.ENABLE}][2:4]
    assert on[1] - off[1] == pytest.approx(7200, abs=60)


def test_a_drafter_that_fits_again_is_tried_again_as_soon_as_at_first() -> None:
    running = fleet(profile=BROKEN)
    running.run(120, 20)
    assert running.state.off
    for pod in running.pods:
        pod.profile = CODE
    running.run(4000, 20, every=30.0)
    assert not running.state.off
    assert running.state.retries == 0


def test_an_off_switch_of_which_nothing_is_remembered_is_tried_again_too() -> None:
    running = fleet(profile=BROKEN)
    running.state = replace(running.state, in_force=constant(0, 256))
    running.run(3700, 20, every=30.0)
    assert running.decisions[0].kind is Kind.ENABLE
    assert running.decisions[0].at - START <= 3700


def test_a_broken_drafter_may_be_held_at_the_minimum() -> None:
    running = fleet(profile=BROKEN, limits=Limits(on_broken_drafter=OnBrokenDrafter.HOLD, min_k=2))
    answer = running.run(180, 20)
    assert running.state.in_force == constant(2, 256)
    assert isinstance(answer, Hold)
    assert answer.reason is Reason.BROKEN_DRAFTER


def test_a_poor_first_token_is_no_reason_to_stop_where_drafting_pays() -> None:
    running = fleet(profile=RISING)
    running.run(1800, 60)
    kinds = [d.kind for d in running.decisions if d.kind in {Kind.DISABLE, Kind.ENABLE}]
    assert kinds in ([], [Kind.DISABLE, Kind.ENABLE])
    assert 1 <= running.state.in_force.k_at(60) <= 3


def test_drafting_comes_back_once_its_absence_is_seen_to_cost_more() -> None:
    """The prior says that drafts are dear; they cost next to nothing, as only steps without them show."""
    true = estimated_costs()
    cheap = replace(true, draft_ms=tuple(tuple(0.05 * ms for ms in row) for row in true.draft_ms))
    dear = replace(true, draft_ms=tuple(tuple(6.0 * ms for ms in row) for row in true.draft_ms))
    running = fleet(profile=RISING, costs=cheap, prior=replace(estimated_prior(), costs=dear))
    running.run(900, 60)
    kinds = [d.kind for d in running.decisions if d.kind in {Kind.DISABLE, Kind.ENABLE}]
    assert kinds == [Kind.DISABLE, Kind.ENABLE]
    assert not running.state.off


def test_a_drafter_that_fits_again_is_used_again() -> None:
    running = fleet(profile=BROKEN)
    running.run(300, 20)
    for pod in running.pods:
        pod.profile = CODE
    running.run(2 * 3600, 20, every=60.0)
    assert running.state.in_force.k_at(20) >= 3


POOR = (0.35, 0.12, 0.04, 0.01, 0.003, 0.001, 0.0003)


def dear_under_load(**limits: Any) -> Fleet:
    """A drafter that fits, hardly; its draft pass is cheap for few requests, and so dear for many that no K pays."""
    costs = estimated_costs()
    factors = [0.4 if batch <= 16 else 4.0 for batch in costs.draft_batch]
    rows = tuple(tuple(f * ms for f, ms in zip(factors, row, strict=True)) for row in costs.draft_ms)
    dear = replace(costs, draft_ms=rows)
    prior = replace(estimated_prior(), costs=dear)
    return fleet(profile=POOR, costs=dear, prior=prior, limits=Limits(**limits))


def switched(running: Fleet) -> list[tuple[Kind, Reason]]:
    return [(d.kind, d.reason) for d in running.decisions if d.kind in {Kind.DISABLE, Kind.ENABLE}]


def test_speculation_is_off_while_no_k_pays_and_on_again_when_the_load_falls() -> None:
    running = dear_under_load()
    running.run(600, 80)
    assert switched(running) == [(Kind.DISABLE, Reason.NO_K_PAYS)]
    decision = running.decisions[-1]
    assert decision.gain.mean_percent > 3.0
    assert "every K loses at this load" in decision.message
    running.answers.clear()
    running.run(900, 4)
    assert switched(running) == [(Kind.ENABLE, Reason.DRAFTER_RETRY)]
    assert running.state.in_force.k_at(4) >= 1
    running.answers.clear()
    running.run(600, 80)
    assert switched(running) == [(Kind.DISABLE, Reason.NO_K_PAYS)]


def test_while_no_k_pays_it_is_tried_once_an_hour() -> None:
    running = dear_under_load()
    running.run(3 * 3600, 80)
    on = [d.at for d in running.decisions if d.kind is Kind.ENABLE]
    assert len(on) == 2
    assert on[1] - on[0] == pytest.approx(3600, abs=300)
    held = running.answers[-1]
    assert isinstance(held, Hold)
    assert held.reason is Reason.NO_K_PAYS


@pytest.mark.parametrize(
    "limits",
    [{"on_broken_drafter": OnBrokenDrafter.HOLD}, {"switching": Switching.RESTART}, {"switching": Switching.NONE}],
    ids=["held", "by restart", "no way to switch"],
)
def test_drafting_goes_on_where_it_may_not_be_switched_off(limits: dict[str, Any]) -> None:
    running = dear_under_load(**limits)
    running.run(900, 80)
    assert not running.state.off
    assert Reason.NO_K_PAYS not in {answer.reason for answer in running.answers}


def test_stock_counters_do_not_show_when_drafting_would_pay_again_so_it_goes_on() -> None:
    running = dear_under_load()
    running.run(900, 80, exact=False)
    assert not switched(running)


def test_off_for_a_load_ends_with_it_also_where_the_tuner_only_recommends() -> None:
    running = dear_under_load()
    running.run(600, 80)
    assert running.state.off
    running.limits = Limits(mode=Mode.RECOMMEND)
    running.run(900, 4)
    assert not running.state.off
    running.run(900, 80)
    assert not running.state.off


def test_loads_that_come_and_go_within_minutes_are_not_followed_for_long() -> None:
    running = dear_under_load()
    for _ in range(12):
        running.run(360, 80)
        running.run(360, 4)
    assert len(switched(running)) <= 4


def test_what_comes_back_keeps_to_the_latency_target() -> None:
    running = dear_under_load(constraints=(Constraint(LatencyMetric.INTER_TOKEN_LATENCY, 50, 0.0098),))
    running.run(600, 80)
    running.run(900, 4)
    back = next(d for d in running.decisions if d.kind is Kind.ENABLE)
    steps = running.pods[0].costs.step_ms(back.schedule.k_at(4), np.array([4.0]))
    assert float(steps[0]) <= 9.8 * 1.05


@pytest.mark.parametrize(("least", "off"), [(1, False), (5, True)])
def test_every_k_means_those_that_the_bounds_allow(least: int, off: bool) -> None:
    """At this load K = 1 is as good as none, and K = 5 a third dearer."""
    running = fleet(profile=POOR, limits=Limits(min_k=least))
    running.run(900, 120)
    assert running.state.off is off


def test_while_off_nothing_worse_is_recommended_and_no_drafts_are_explained() -> None:
    running = dear_under_load()
    running.run(3000, 80)
    assert running.state.off
    shown = summarise(running.state, running.limits)
    assert shown.recommended is not None
    assert shown.recommended.off
    assert any(line.strip().startswith("K=0") for line in explain(running.state, running.limits, running.now).lines())


def test_where_a_switchback_refuted_the_estimates_they_switch_nothing_off() -> None:
    running = dear_under_load(switchback_share=0.02)
    running.run(60, 80)
    pairs = Pairs(7, 60.0, START, running.now, 0.5, refuted_at=running.now)
    running.state = replace(running.state, pairs=pairs)
    running.answers.clear()
    running.run(4 * 3600, 80)
    assert not switched(running)
    assert running.state.in_force.ks == (7,)


def test_the_hourly_try_begins_with_the_best_k_since_the_drafter_fits() -> None:
    running = dear_under_load()
    running.run(600, 80)
    running.limits = Limits(mode=Mode.RECOMMEND)
    running.run(3700, 80)
    back = next(d for d in running.decisions if d.kind is Kind.ENABLE)
    assert back.schedule.k_at(2) > 1


def test_a_clock_that_was_set_back_switches_nothing_off() -> None:
    running = dear_under_load()
    while running.state.losing_since is None:
        running.run(15, 80)
    running.state = replace(running.state, losing_since=None)
    running.now -= 3600.0
    running.run(60, 80)
    assert not running.state.off


def test_losing_is_forgotten_where_counters_are_exact_no_more() -> None:
    running = dear_under_load()
    while running.state.losing_since is None:
        running.run(15, 80)
    stock = replace(running.state, pods={name: replace(pod, exact=False) for name, pod in running.state.pods.items()})
    assert prepared(stock, running.limits, running.now, 0.5).losing_since is None
