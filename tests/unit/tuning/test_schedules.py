"""What the tuner does with a fleet: which schedule it ends at, how fast, and what keeps it from acting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from specdec.api.schedule import Schedule, constant
from specdec.tuning import (
    Constraint,
    CostTable,
    Decision,
    Disruption,
    Gain,
    Hold,
    Kind,
    LatencyMetric,
    Limits,
    Mode,
    Prior,
    Reason,
    Switching,
    Verdict,
    acted,
    candidates,
    dump,
    estimated_costs,
    estimated_prior,
    explain,
    first_schedule,
    load,
    observe,
    recommend,
    summarise,
)
from specdec.tuning.candidates import Doubt
from specdec.tuning.samples import BATCH_BUCKET_ENDS
from tests.support.engines import CHAT, CODE, HARD, START, fleet, scaled

BATCHES = (8, 32, 64, 120)


def best_k(costs: CostTable, profile: Sequence[float], batch: int) -> int:
    length = 1 + np.cumsum(profile)
    cost = [float(costs.step_ms(k, np.array([float(batch)]))[0]) / length[k - 1] for k in range(1, 8)]
    return int(np.argmin(cost)) + 1


def loss(costs: CostTable, profile: Sequence[float], batch: int, k: int) -> float:
    length = 1 + np.cumsum(profile)

    def tpot(k: int) -> float:
        return float(costs.step_ms(k, np.array([float(batch)]))[0]) / float(length[k - 1])

    return tpot(k) / tpot(best_k(costs, profile, batch)) - 1


@pytest.mark.parametrize("profile", [CHAT, CODE, HARD], ids=["chat", "code", "hard"])
@pytest.mark.parametrize(
    ("factor", "bend"), [(1.0, 0.0), (1.75, 0.04), (0.6, -0.03)], ids=["true", "dearer", "cheaper"]
)
def test_a_quarter_of_an_hour_at_one_load_ends_within_two_percent_of_the_best(
    profile: Sequence[float], factor: float, bend: float
) -> None:
    truth = scaled(estimated_costs(), factor, bend)
    for batch in (32, 90):
        running = fleet(profile=profile, costs=truth)
        running.run(900, batch)
        k = running.state.in_force.k_at(batch)
        assert loss(truth, profile, batch, k) < 0.02


def test_stock_counters_find_the_way_too() -> None:
    running = fleet(costs=scaled(estimated_costs(), 1.4))
    running.run(1200, 90, exact=False)
    assert loss(estimated_costs(), CHAT, 90, running.state.in_force.k_at(90)) < 0.04
    assert not summarise(running.state, running.limits).exact_counters


def test_the_first_minute_already_lowers_k_under_load() -> None:
    running = fleet(profile=HARD)
    running.run(60, 120, every=5.0)
    assert running.state.in_force.k_at(120) <= 3


def test_a_slow_node_is_not_mistaken_for_a_dear_k() -> None:
    running = fleet(pods=3)
    running.pods[0].slower = 1.3
    running.run(1200, 60)
    assert loss(estimated_costs(), CHAT, 60, running.state.in_force.k_at(60)) < 0.02


def held(limits: Limits, seconds: float = 60.0, batch: float = 60.0) -> Hold:
    running = fleet(limits=limits)
    answer = running.run(seconds, batch, act=False)
    assert isinstance(answer, Hold)
    return answer


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        pytest.param(Limits(mode=Mode.OFF), Reason.TUNING_OFF, id="off"),
        pytest.param(Limits(paused=True), Reason.PAUSED, id="paused"),
        pytest.param(Limits(mode=Mode.RECOMMEND), Reason.RECOMMEND_ONLY, id="recommend only"),
        pytest.param(Limits(metrics_age_seconds=None), Reason.NO_METRICS, id="nothing scraped"),
        pytest.param(Limits(metrics_age_seconds=200.0), Reason.STALE_METRICS, id="an old page decides nothing"),
        pytest.param(Limits(rollout_in_progress=True), Reason.ROLLOUT_IN_PROGRESS, id="a moving fleet"),
        pytest.param(Limits(switching=Switching.NONE), Reason.SWITCHING_UNAVAILABLE, id="no way to switch"),
        pytest.param(Limits(min_drafts=10**9), Reason.TOO_FEW_DRAFTS, id="a quiet minute decides nothing"),
        pytest.param(Limits(min_k=5, max_k=3), Reason.INVALID_LIMITS, id="bounds crossed"),
        pytest.param(Limits(switching=Switching.RESTART), Reason.RESTART_BUDGET_SPENT, id="no restarts left"),
        pytest.param(
            Limits(switching=Switching.RESTART, disruption=Disruption(1)), Reason.OUTSIDE_WINDOW, id="window closed"
        ),
        pytest.param(
            Limits(switching=Switching.RESTART, disruption=Disruption(1, True)), Reason.NOT_YET_A_DAY, id="half a day"
        ),
    ],
)
def test_the_tuner_holds(limits: Limits, reason: Reason) -> None:
    assert held(limits).reason is reason


def test_a_recommendation_carries_its_proposal() -> None:
    assert isinstance(held(Limits(mode=Mode.RECOMMEND)).proposal, Decision)


def test_a_change_is_not_followed_by_another_within_the_cooldown() -> None:
    running = fleet(limits=Limits(live_cooldown_seconds=120.0))
    running.run(900, 60)
    followed = [(a.at, b.at) for a, b in pairwise(running.decisions) if a.kind is not Kind.TRIAL]
    assert followed
    assert all(after - before >= 120.0 for before, after in followed)


def test_bounds_that_the_user_narrows_are_kept_at_once() -> None:
    running = fleet()
    running.run(120, 20)
    running.limits = Limits(min_k=2, max_k=3)
    answer = recommend(running.state, running.limits, running.now, 0.5)
    assert isinstance(answer, Decision)
    assert answer.reason is Reason.BOUNDS_CHANGED
    assert set(answer.schedule.ks) <= {2, 3}


def test_no_batch_exceeds_the_graph_limit_even_before_the_first_draft() -> None:
    running = fleet(limits=Limits(graph_capture_tokens=512, max_num_batched_tokens=4096))
    answer = recommend(running.state, running.limits, running.now, 0.5)
    assert isinstance(answer, Decision)
    assert answer.reason is Reason.GRAPH_LIMIT
    assert all((t.num_speculative_tokens + 1) * t.to_batch <= 512 for t in answer.schedule.tiers)


def test_an_itl_target_takes_away_long_steps() -> None:
    free, bound = fleet(profile=CODE), fleet(profile=CODE)
    bound.limits = Limits(constraints=(Constraint(LatencyMetric.INTER_TOKEN_LATENCY, 95, 0.022),))
    free.run(900, 48)
    bound.run(900, 48)
    assert bound.state.in_force.k_at(48) < free.state.in_force.k_at(48)


@pytest.mark.parametrize("metric", [LatencyMetric.TIME_PER_OUTPUT_TOKEN, LatencyMetric.TIME_TO_FIRST_TOKEN])
def test_a_target_that_no_k_meets_is_told_with_the_nearest_miss(metric: LatencyMetric) -> None:
    running = fleet(limits=Limits(constraints=(Constraint(metric, 95, 0.001),)))
    running.run(1800, 60)
    held_for = {a.reason: a.message for a in running.answers if isinstance(a, Hold)}
    assert "target is 1 ms" in held_for[Reason.CONSTRAINT_AT_RISK]


def test_a_restart_waits_for_a_day_and_then_pays() -> None:
    limits = Limits(switching=Switching.RESTART, disruption=Disruption(1, True))
    running = fleet(pods=1, profile=HARD, limits=limits)
    running.run(25 * 3600, 60, every=300.0)
    restarts = [d for d in running.decisions if d.kind is Kind.RESTART]
    assert len(restarts) == 1
    assert restarts[0].start_k is not None
    assert restarts[0].start_k < 7
    assert restarts[0].gain.mean_percent > 10.0
    assert restarts[0].at - START >= 24 * 3600


def mean_regret(schedule: Schedule, drafters: Sequence[Sequence[float]]) -> float:
    """Log units of time per token over the best start value, at every batch size alike on a logarithmic scale."""
    batches, start, costs = np.geomspace(1, 256, 25).round(), max(schedule.ks), estimated_costs()

    def log_tpot(k: int, start_k: int, batch: float, profile: Sequence[float]) -> float:
        ms = float(costs.step_ms(k, np.array([batch]), start_k=start_k)[0])
        return float(np.log(ms / (1 + sum(profile[:k]))))

    lost = []
    for profile in drafters:
        ours = np.mean([log_tpot(schedule.k_at(int(b)), start, b, profile) for b in batches])
        least = min(np.mean([log_tpot(k, k, b, profile) for b in batches]) for k in range(1, 8))
        lost.append(float(ours - least))
    return float(np.mean(lost))


def test_the_first_schedule_hedges_between_drafters_better_and_worse_than_the_prior() -> None:
    drafters = [[h**i for i in range(1, 8)] for h in (0.55, 0.7, 0.8, 0.88, 0.94)]
    chosen = first_schedule(fleet().state, Limits(switching=Switching.RESTART))
    assert max(chosen.ks) > 4, "a drafter better than the prior could not show it"
    assert mean_regret(chosen, drafters) < min(mean_regret(constant(k, 256), drafters) for k in range(1, 8))


@pytest.mark.parametrize("factor", [0.7, 1.3])
def test_the_first_start_value_follows_the_prior(factor: float) -> None:
    limits, prior = Limits(switching=Switching.RESTART, most_tiers=1), estimated_prior()
    other = fleet(prior=replace(prior, acceptance=tuple(min(p * factor, 0.99) for p in prior.acceptance))).state
    chosen, usual = max(first_schedule(other, limits).ks), max(first_schedule(fleet(prior=prior).state, limits).ks)
    assert chosen >= usual if factor > 1 else chosen <= usual


def test_ten_minutes_of_other_traffic_restart_nothing() -> None:
    limits = Limits(switching=Switching.RESTART, disruption=Disruption(1, True))
    running = fleet(pods=1, profile=CHAT, limits=limits)
    running.run(50 * 3600, 60, every=300.0)
    settled = len([d for d in running.decisions if d.kind is Kind.RESTART])
    running.pods[0].profile = HARD
    running.run(600, 60, every=15.0)
    assert len([d for d in running.decisions if d.kind is Kind.RESTART]) == settled
    running.run(12 * 3600, 60, every=300.0)
    assert len([d for d in running.decisions if d.kind is Kind.RESTART]) > settled


def test_a_restart_that_would_gain_little_is_not_proposed() -> None:
    limits = Limits(switching=Switching.RESTART, disruption=Disruption(1, True), min_k=6, max_k=7)
    running = fleet(pods=1, profile=CODE, limits=limits)
    answer = running.run(25 * 3600, 6, every=300.0)
    assert isinstance(answer, Hold)
    assert answer.reason is Reason.GAIN_TOO_SMALL


def test_moves_are_judged_and_a_losing_one_is_taken_back() -> None:
    running = fleet()
    running.run(1800, 60)
    assert any(move.verdict is Verdict.DELIVERED for move in running.state.moves)
    worse = Decision(
        Kind.LIVE, constant(7, 256), running.decisions[-1].gain, Reason.BETTER_SCHEDULE, "by mistake", running.now
    )
    good = running.state.in_force
    running.state = acted(running.state, worse, running.now)
    running.limits = replace(running.limits, live_margin_percent=100.0)
    running.run(300, 60)
    assert running.decisions[-1].kind is Kind.TAKE_BACK
    assert running.decisions[-1].schedule == good


@pytest.mark.parametrize(
    ("start_k", "measured"),
    [
        pytest.param(7, True, id="the same start value"),
        pytest.param(3, False, id="another block length, of which nothing before is measured any more"),
    ],
)
def test_a_restart_shows_a_gain_only_where_it_can_be_compared(start_k: int, measured: bool) -> None:
    limits = Limits(switching=Switching.RESTART)
    running = fleet(pods=1, limits=limits)
    promised = Gain(8.0, 3.0, 13.0)
    restart = Decision(
        Kind.RESTART, constant(3, 256), promised, Reason.BETTER_START_VALUE, "", running.now, start_k=start_k
    )
    running.state = acted(running.state, restart, running.now)
    running.run(3000, 60, every=60.0)
    assert running.state.moves[-1].verdict is Verdict.PENDING
    running.run(900, 60, every=60.0)
    move = load(dump(running.state), running.state.environment, running.state.prior).moves[-1]
    assert move.verdict is Verdict.INCONCLUSIVE
    assert (move.realised is not None) is measured


def test_the_explanation_names_every_candidate_and_the_answer() -> None:
    running = fleet()
    running.run(600, 60)
    told = explain(running.state, running.limits, running.now)
    assert {row.k for row in told.candidates} == set(range(1, 8))
    assert any(row.in_force for row in told.candidates)
    assert told.lines()[0].split(":")[1].strip() in {reason.value for reason in Reason}
    text = "\n".join(told.lines())
    for part in ("no guard objects", "samples: 2 pods, exact counters", "K=3 2.58 [", "█", "last moves:", "promised"):
        assert part in text
    paused = explain(running.state, replace(running.limits, paused=True), running.now)
    assert "guard Paused: spec.paused is set" in paused.lines()
    assert not any("guard" in line for line in paused.lines(live=False))
    figures = summarise(running.state, running.limits)
    assert figures.tokens_per_second is not None
    assert figures.mean_accepted_length is not None
    assert figures.gain_over_untuned is not None
    assert figures.gain_over_untuned.mean_percent > 5
    assert figures.confidence > 0.9
    assert explain(fleet().state, running.limits, running.now).summary.batch is None


def test_order_and_names_of_pods_change_nothing() -> None:
    one, other = fleet(pods=3), fleet(pods=3)
    for pod, name in zip(other.pods, ("c", "a", "b"), strict=True):
        pod.name = name
    one.run(600, 60)
    other.run(600, 60, spoil=lambda samples: samples[::-1])
    assert one.state.in_force == other.state.in_force
    assert one.state.acceptance.fast == pytest.approx(other.state.acceptance.fast)


def test_observing_nothing_teaches_nothing() -> None:
    running = fleet()
    running.run(120, 60)
    later = observe(running.state, [], running.now + 5)
    assert later.acceptance.seen_drafts == running.state.acceptance.seen_drafts


def test_without_evidence_k_does_not_rise_beyond_the_batch_sizes_in_use_nor_fall_below_them() -> None:
    state = fleet(profile=HARD).state
    load = np.zeros_like(state.load)
    load[np.searchsorted(BATCH_BUCKET_ENDS, 60)] = (1.0, 60.0)
    seen = candidates.outlook(state)
    unknown = replace(seen.surface, covariance=seen.surface.covariance + np.eye(8, dtype=np.float32))
    inside = candidates.allowed(Limits(), 7, state.grid)
    for before in (7, 1):
        in_force, doubt = np.full(256, before), Doubt(where_busy=0.0, elsewhere=1.28, margin=0.001)
        table = candidates.better_table(replace(seen, surface=unknown), inside, in_force, load, doubt)
        assert 1 < table[59] < 7
        assert table[64:].max() <= table[63], "the bucket in use ends at 64"
        assert table[:48].min() >= table[48]


def test_a_borrowed_prior_costs_little() -> None:
    prior = Prior(scaled(estimated_costs(), 2.0, 0.06), estimated_prior().acceptance)
    running = fleet(prior=prior, costs=estimated_costs())
    running.run(1800, 60)
    assert loss(estimated_costs(), CHAT, 60, running.state.in_force.k_at(60)) < 0.02
