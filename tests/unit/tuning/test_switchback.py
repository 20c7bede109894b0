"""Times without tuning held against times with it: when they come, what they show, what follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from specdec.api.schedule import constant
from specdec.tuning import (
    Constraint,
    Decision,
    Disruption,
    Finding,
    Hold,
    Kind,
    LatencyMetric,
    Limits,
    Mode,
    Pairs,
    Reason,
    Switching,
    acted,
    dump,
    estimated_prior,
    explain,
    load,
    pairs_in_words,
    prepared,
    recommend,
    summarise,
)
from specdec.tuning.pairs import LEAST_PAIRS
from specdec.tuning.sequential import Running
from tests.support.engines import CHAT, CODE, HARD, START, Fleet, fleet, scaled

HOUR, MINUTE = 3600.0, 60.0
LIMITS = Limits(switchback_share=0.1)


def begun(running: Fleet) -> list[Decision]:
    return [decision for decision in running.decisions if decision.reason is Reason.SWITCHBACK]


def tuned_fleet(profile: Sequence[float] = CHAT, batch: float = 60.0, limits: Limits = LIMITS) -> Fleet:
    """After two hours of traffic."""
    running = fleet(pods=2, profile=profile, limits=limits)
    running.run(2 * HOUR, batch)
    return running


def until_untuned(running: Fleet, batch: float = 60.0) -> Decision:
    """Runs until the untuned K has just come back; the decision."""
    count = len(begun(running))
    for _ in range(400):
        running.run(15.0, batch)
        if len(begun(running)) > count:
            return begun(running)[-1]
    raise AssertionError("no minute without tuning came")


def in_pairs(running: Fleet) -> Pairs:
    assert running.state.pairs is not None
    return running.state.pairs


def with_seen(running: Fleet, gains: Sequence[float]) -> Fleet:
    """As if pairs had shown `gains`, log units."""
    seen = Running()
    for gain in gains:
        seen = seen.added(gain)
    running.state = replace(running.state, pairs=Pairs(7, MINUTE, START, running.now, 0.5, seen))
    return running


@pytest.mark.parametrize(
    ("profile", "batch"), [(CHAT, 60.0), (HARD, 20.0), (CODE, 100.0)], ids=["chat", "hard", "code"]
)
@pytest.mark.parametrize("exact", [True, False], ids=["exact", "stock"])
def test_the_interval_holds_what_tuning_gains(profile: Sequence[float], batch: float, exact: bool) -> None:
    running, lots = fleet(pods=2, profile=profile, limits=LIMITS), np.random.default_rng(3)
    for _ in range(6 * 60):
        running.lot = float(lots.random())
        running.run(MINUTE, batch, exact=exact)
    gain, costs = in_pairs(running).gain(), running.pods[0].costs
    k = running.state.in_force.k_at(round(batch))

    def per_token(k: int) -> float:
        return float(costs.step_ms(k, np.array([batch]))[0]) / (1.0 + sum(profile[:k]))

    truth = 100.0 * (per_token(7) / per_token(k) - 1.0)
    assert gain is not None
    assert gain.lower_percent - 0.7 <= truth <= gain.upper_percent + 0.7
    assert gain.upper_percent - gain.lower_percent < 4.0
    assert in_pairs(running).finding is Finding.CONFIRMED


def test_it_takes_the_share_of_the_time_that_is_asked_for() -> None:
    running = tuned_fleet(limits=Limits(switchback_share=0.05))
    running.run(10 * HOUR, 60.0)
    expected = 12 * HOUR * 0.05 / MINUTE
    assert len(begun(running)) == pytest.approx(expected, rel=0.1)
    assert {decision.trial_seconds for decision in begun(running)} == {MINUTE}


def test_when_it_comes_is_drawn_by_lot() -> None:
    running = tuned_fleet()
    decision = until_untuned(running)
    before = replace(running.state, in_force=constant(3, 256), trial=None)
    after = [acted(before, decision, running.now, chance).pairs for chance in (0.0, 0.5, 0.999)]
    assert [pairs.lot for pairs in after if pairs] == [0.0, 0.5, 0.999]
    for lot, gap in ((0.0, 0.5), (0.999, 1.5)):
        running.lot = lot
        starts = [until_untuned(running).at for _ in range(3)]
        assert starts[2] - starts[1] == pytest.approx(gap * MINUTE / 0.1, abs=30.0)


def test_a_time_that_guards_put_off_does_not_begin_with_what_they_waited_for() -> None:
    """Else each would begin at the first moment of a burst."""
    running = tuned_fleet()
    until_untuned(running)
    running.run(5 * MINUTE, 60.0)
    running.limits = replace(LIMITS, min_drafts=10**9)
    running.run(HOUR, 60.0)
    running.limits, running.lot = LIMITS, 0.9
    running.run(10 * MINUTE, 60.0)
    assert not any(d.at > running.now - 10 * MINUTE for d in begun(running))
    running.lot = 0.05
    running.run(MINUTE, 60.0)
    assert any(d.at > running.now - MINUTE for d in begun(running))


def test_the_tuned_schedule_comes_back_after_a_minute_and_nothing_is_tried_in_the_next() -> None:
    running = tuned_fleet()
    until_untuned(running)
    back_to = running.state.trial.back_to if running.state.trial else None
    assert running.state.in_force.ks == (7,)
    running.run(MINUTE, 60.0)
    assert (running.state.in_force, running.state.trial) == (back_to, None)
    answer = running.run(30.0, 60.0)
    assert isinstance(answer, Hold)
    assert answer.reason is Reason.SWITCHBACK
    assert in_pairs(running).under_way is not None
    count = in_pairs(running).seen.count
    running.run(45.0, 60.0)
    assert in_pairs(running).seen.count == count + 1
    assert in_pairs(running).under_way is None


def test_no_minute_without_tuning_where_none_is_asked_for() -> None:
    running = tuned_fleet(limits=Limits())
    assert not begun(running)
    assert running.state.pairs is None
    assert summarise(running.state, running.limits).pairs is None


def test_none_where_the_tuner_only_recommends() -> None:
    running = tuned_fleet()
    running.limits = replace(LIMITS, mode=Mode.RECOMMEND)
    running.answers.clear()
    running.run(2 * HOUR, 60.0)
    proposals = [answer.proposal.reason for answer in running.answers if isinstance(answer, Hold) and answer.proposal]
    assert Reason.SWITCHBACK not in proposals


def test_none_where_tuned_and_untuned_are_the_same() -> None:
    running = tuned_fleet(profile=[0.97**n for n in range(1, 8)], batch=2.0)
    assert {running.state.in_force.k_at(batch) for batch in range(1, 9)} == {7}
    assert not begun(running)


def test_none_that_would_cost_users_dearly() -> None:
    running = tuned_fleet(profile=HARD, batch=150.0)
    costs = running.pods[0].costs
    slower = [float(costs.step_ms(k, np.array([150.0]))[0]) / (1 + sum(HARD[:k])) for k in (7, 2)]
    assert slower[0] > 1.4 * slower[1]
    assert not begun(running)


@pytest.mark.parametrize("metric", [LatencyMetric.INTER_TOKEN_LATENCY, LatencyMetric.TIME_PER_OUTPUT_TOKEN])
def test_none_that_would_break_a_latency_target(metric: LatencyMetric) -> None:
    costs = estimated_prior().costs
    step = float(costs.step_ms(7, np.array([60.0]))[0]) / 1000.0
    seconds = step if metric is LatencyMetric.INTER_TOKEN_LATENCY else step / (1 + sum(CHAT))
    running = tuned_fleet(limits=replace(LIMITS, constraints=(Constraint(metric, 50, 0.97 * seconds),)))
    assert running.state.in_force.k_at(60) < 7
    assert not begun(running)


def test_it_ends_at_once_when_it_is_asked_for_no_more() -> None:
    running = tuned_fleet()
    until_untuned(running)
    running.limits = Limits()
    answer = running.run(15.0, 60.0)
    assert isinstance(answer, Decision)
    assert answer.reason is Reason.TRIAL_ENDED
    assert running.state.in_force.ks != (7,)


def test_it_ends_at_once_when_it_has_become_dear() -> None:
    running = tuned_fleet()
    until_untuned(running)
    for pod in running.pods:
        pod.costs = scaled(pod.costs, 1.0, bend=1.0)
        pod.profile = HARD
    running.run(45.0, 200.0)
    ends = [d.message for d in running.decisions if d.at > running.now - 45.0 and d.reason is Reason.TRIAL_ENDED]
    assert ends[:1] == ["it costs users too much"]


@pytest.mark.parametrize(
    "hold",
    [
        {"rollout_in_progress": True},
        {"min_drafts": 10**9},
        {"metrics_age_seconds": None},
        {"switching": Switching.NONE},
    ],
    ids=lambda hold: next(iter(hold)),
)
def test_it_ends_in_time_whatever_holds_the_tuner(hold: dict[str, Any]) -> None:
    running = tuned_fleet()
    until_untuned(running)
    running.limits = replace(LIMITS, **hold)
    running.run(MINUTE, 60.0)
    assert running.state.trial is None
    assert running.state.in_force.k_at(60) < 7


def test_bounds_that_move_end_it_with_what_tuning_chose() -> None:
    running = tuned_fleet()
    chosen = running.state.in_force.k_at(60)
    until_untuned(running)
    running.limits = replace(LIMITS, max_k=6)
    running.run(15.0, 60.0)
    assert running.decisions[-1].reason is Reason.BOUNDS_CHANGED
    assert running.state.in_force.k_at(60) == chosen
    assert running.state.trial is None


def test_nothing_of_it_moves_k_by_restart() -> None:
    refuted = with_seen(tuned_fleet(), [-0.05, -0.06, -0.055] * 3)
    untuned = tuned_fleet()
    until_untuned(untuned)
    for running in (refuted, untuned):
        running.limits = replace(LIMITS, switching=Switching.RESTART, disruption=Disruption(1, True))
        running.answers.clear()
        running.run(10 * MINUTE, 60.0)
        assert not running.decisions


def test_it_leaves_learning_as_it_was() -> None:
    running = tuned_fleet()
    before = until_untuned(running)
    assert running.state.tried_at < before.at
    assert before.at not in running.state.tried.values()


@pytest.mark.parametrize(
    ("gains", "finding"),
    [
        ([0.05, 0.06] * 2, Finding.OPEN),
        ([0.05, 0.06, 0.055] * 3, Finding.CONFIRMED),
        ([-0.05, -0.06, -0.055] * 3, Finding.REFUTED),
        ([0.05, -0.06, 0.0] * 3, Finding.OPEN),
    ],
    ids=["too few", "gains", "loses", "unclear"],
)
def test_the_finding_follows_from_the_interval(gains: list[float], finding: Finding) -> None:
    pairs = in_pairs(with_seen(fleet(), gains))
    assert (pairs.seen.count >= LEAST_PAIRS) == (len(gains) >= LEAST_PAIRS)
    assert pairs.finding is finding
    assert (finding.value in pairs_in_words(pairs)) == (pairs.gain() is not None)


def test_where_tuning_is_shown_to_lose_the_untuned_k_stays_for_a_day() -> None:
    running = with_seen(tuned_fleet(), [-0.05, -0.06, -0.055] * 3)
    answer = running.run(15.0, 60.0)
    assert isinstance(answer, Decision)
    assert (answer.kind, answer.reason) == (Kind.TAKE_BACK, Reason.SWITCHBACK_REFUTED)
    assert answer.gain.mean_percent > 0
    assert "K = 7 stays for a day" in answer.message
    assert running.state.in_force.ks == (7,)
    assert in_pairs(running).finding is Finding.REFUTED
    running.answers.clear()
    held = running.run(23 * HOUR, 60.0, every=60.0)
    assert isinstance(held, Hold)
    assert held.reason is Reason.SWITCHBACK_REFUTED
    assert not running.decisions
    running.run(2 * HOUR, 60.0, every=60.0)
    assert running.state.in_force.ks != (7,)


def test_the_untuned_k_comes_back_after_another_move_and_the_day_is_no_longer() -> None:
    """As when a drafter was off meanwhile and begins again with the smallest K."""
    running = with_seen(tuned_fleet(), [-0.05, -0.06, -0.055] * 3)
    running.run(15.0, 60.0)
    refuted_at = in_pairs(running).refuted_at
    running.state = replace(running.state, in_force=constant(1, 256))
    running.run(MINUTE, 60.0)
    assert running.state.in_force.ks == (7,)
    assert in_pairs(running).refuted_at == refuted_at


def test_bounds_that_move_in_the_untuned_day_do_not_end_it() -> None:
    running = with_seen(tuned_fleet(), [-0.05, -0.06, -0.055] * 3)
    running.run(15.0, 60.0)
    running.limits = replace(LIMITS, max_k=6)
    running.run(HOUR, 60.0)
    assert running.state.in_force.ks == (6,)
    running.limits = LIMITS
    running.run(MINUTE, 60.0)
    assert running.state.in_force.ks == (7,)
    verdicts = [d for d in running.decisions if d.reason is Reason.SWITCHBACK_REFUTED]
    assert len(verdicts) == 1


def test_pods_are_watched_only_around_an_untuned_time() -> None:
    running = tuned_fleet(limits=Limits(switchback_share=0.02))
    until_untuned(running)
    running.run(2 * MINUTE + 30.0, 60.0)
    assert in_pairs(running).under_way is None
    assert not in_pairs(running).pods
    running.run(10 * MINUTE, 60.0)
    assert not in_pairs(running).pods
    until_untuned(running)
    assert len(in_pairs(running).pods) == 2


@pytest.mark.parametrize(
    "others",
    [{"paused": True}, {"mode": Mode.RECOMMEND}, {"switching": Switching.RESTART}, {"switchback_seconds": 30.0}],
    ids=lambda change: next(iter(change)),
)
def test_a_pair_is_given_up_while_others_may_change_k(others: dict[str, Any]) -> None:
    running = tuned_fleet()
    until_untuned(running)
    count = in_pairs(running).seen.count
    after = prepared(running.state, replace(LIMITS, **others), running.now, 0.5).pairs
    assert after is not None
    assert (after.under_way, after.seen.count) == (None, count)


def test_who_asks_for_it_no_more_forgets_what_it_showed() -> None:
    running = tuned_fleet()
    running.limits = Limits()
    running.run(15.0, 60.0)
    assert running.state.pairs is None


def test_bursts_in_which_steps_grow_slower_do_not_refute_tuning() -> None:
    running = fleet(pods=2, limits=Limits(switchback_share=0.1))
    lots = np.random.default_rng(5)
    for _ in range(24):
        for minute in range(10):
            running.lot = float(lots.random())
            for pod in running.pods:
                pod.slower = 1.0 + 0.09 * minute
            running.run(MINUTE, 60.0)
        running.run(20 * MINUTE, 1.0)
    assert in_pairs(running).seen.count > 5
    assert in_pairs(running).finding is not Finding.REFUTED


def test_what_the_pairs_showed_is_told() -> None:
    running = tuned_fleet()
    told = explain(running.state, running.limits, running.now).lines()
    assert told[-1].startswith("switchback: tuned against K = 7: +")
    assert "90 %" not in told[-1]
    assert summarise(running.state, running.limits).pairs == running.state.pairs


def test_the_pairs_outlive_the_operator_and_the_minute_ends_all_the_same() -> None:
    running = tuned_fleet()
    until_untuned(running)
    state = load(dump(running.state), running.state.environment, running.state.prior)
    assert state.trial == running.state.trial
    assert state.pairs is not None
    assert state.pairs.under_way is None
    assert state.pairs.seen.count == in_pairs(running).seen.count
    assert state.pairs.gain() == in_pairs(running).gain()
    running.state = state
    running.run(2 * MINUTE, 60.0)
    assert running.state.trial is None
    assert running.state.in_force.ks != (7,)


def test_another_start_value_begins_anew() -> None:
    running = with_seen(tuned_fleet(), [0.05, 0.06, 0.055] * 3)
    running.limits = replace(LIMITS, max_k=6)
    running.run(HOUR, 60.0)
    assert in_pairs(running).untuned_k == 6
    assert 0 < in_pairs(running).seen.count < 9


def test_a_better_schedule_is_not_kept_waiting() -> None:
    running = tuned_fleet()
    until_untuned(running)
    running.run(MINUTE + 15.0, 60.0)
    for pod in running.pods:
        pod.profile = HARD
    running.run(90.0, 60.0)
    assert any(d.reason is Reason.BETTER_SCHEDULE for d in running.decisions if d.at > running.now - 90.0)


def test_recommend_is_the_same_without_a_switchback() -> None:
    running = tuned_fleet(limits=Limits())
    with_share = recommend(running.state, replace(LIMITS, switchback_share=1e-6), running.now, 0.5)
    assert with_share == recommend(running.state, Limits(), running.now, 0.5)
