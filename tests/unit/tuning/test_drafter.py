"""A drafter that does not fit is switched off, is tried again, and stays where it pays all the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from specdec.api.schedule import constant
from specdec.tuning import (
    Disruption,
    Hold,
    Kind,
    Limits,
    OnBrokenDrafter,
    Reason,
    Switching,
    estimated_costs,
    estimated_prior,
)
from tests.support.engines import BROKEN, CODE, START, fleet

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
