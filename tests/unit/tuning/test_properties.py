"""What holds whatever comes in."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from numpy.typing import NDArray

from specdec.api.schedule import constant
from specdec.tuning import (
    Decision,
    Gain,
    Hold,
    Kind,
    Limits,
    Mode,
    Move,
    Reason,
    Verdict,
    acted,
    candidates,
    estimated_costs,
    new_state,
    observe,
    recommend,
)
from specdec.tuning.samples import BATCH_BUCKET_ENDS, Sample
from tests.support.engines import CHAT, HARD, START, Fleet, fleet, scaled

quickly = settings(max_examples=12, deadline=None)


@quickly
@given(low=some.integers(1, 7), high=some.integers(1, 7), batch=some.integers(1, 250), seed=some.integers(0, 99))
def test_k_never_leaves_the_bounds(low: int, high: int, batch: int, seed: int) -> None:
    limits = Limits(min_k=min(low, high), max_k=max(low, high), graph_capture_tokens=1024)
    running = fleet(limits=limits)
    running.pods[0].chance = np.random.default_rng(seed)
    running.run(120, batch)
    for decision in running.decisions:
        assert set(decision.schedule.ks) <= set(range(limits.min_k, limits.max_k + 1))
        for tier in decision.schedule.tiers:
            over = tier.to_batch * (tier.num_speculative_tokens + 1) > 1024
            assert not over or tier.num_speculative_tokens == limits.min_k


@quickly
@given(bounds=some.lists(some.tuples(some.integers(1, 7), some.integers(1, 7)), min_size=4, max_size=8))
def test_k_never_leaves_bounds_that_the_user_moves(bounds: list[tuple[int, int]]) -> None:
    running = fleet(pods=1, profile=HARD)
    for one, other in bounds:
        running.limits = Limits(min_k=min(one, other), max_k=max(one, other))
        before = len(running.decisions)
        running.run(75, 60)
        for decision in running.decisions[before:]:
            assert set(decision.schedule.ks) <= set(range(running.limits.min_k, running.limits.max_k + 1)), decision


def test_what_was_before_a_lost_move_comes_back_only_inside_the_bounds() -> None:
    running = fleet(profile=CHAT)
    running.run(600, 60)
    lost = Gain(-5.0, -6.0, -4.0)
    move = Move(
        running.now, Kind.LIVE, Reason.BETTER_SCHEDULE, constant(7, 256), constant(4, 256), lost,
        realised=lost, verdict=Verdict.DID_NOT_DELIVER,
    )  # fmt: skip
    state, later = replace(running.state, in_force=constant(4, 256), moves=(move,)), running.now + 60
    back = recommend(state, running.limits, later, 0.5)
    assert isinstance(back, Decision)
    assert (back.kind, back.schedule) == (Kind.TAKE_BACK, constant(7, 256))
    held = recommend(state, replace(running.limits, max_k=5), later, 0.5)
    assert not isinstance(held, Decision) or held.kind is not Kind.TAKE_BACK


@pytest.mark.parametrize("pods", [1, 4])
def test_a_step_that_stood_still_does_not_move_k(pods: int) -> None:
    running = fleet(pods=pods, profile=CHAT)
    running.run(150, 40)
    for cell, row in running.pods[0].counts.items():
        if cell[:2] == (running.state.in_force.k_at(40), int(np.searchsorted(BATCH_BUCKET_ENDS, 40))):
            row[1] += 30.0
    running.run(1800, 40)
    assert running.state.in_force.k_at(40) == 4


@quickly
@given(
    value=some.sampled_from([math.nan, math.inf, -1.0, 1e300]),
    field=some.sampled_from(["steps", "drafts", "step_seconds"]),
)
def test_figures_that_are_no_counts_hold_with_a_reason(value: float, field: str) -> None:
    spoilt: dict[str, Any] = {field: value}

    def spoil(samples: list[Sample]) -> list[Sample]:
        cells = tuple(replace(cell, **spoilt) for cell in samples[0].cells)
        return [replace(sample, cells=cells) for sample in samples]

    running = fleet()
    running.run(60, 40)
    answer = running.run(15, 40, spoil=spoil)
    assert isinstance(answer, Hold | Decision)
    if isinstance(answer, Hold):
        assert answer.reason in {Reason.SUSPECT_METRICS, Reason.TRIAL_RUNNING, Reason.COOLDOWN, Reason.STALE_METRICS}
    assert np.isfinite(running.state.belief.mean).all()


@quickly
@given(
    hazard=some.floats(0.2, 0.95),
    bend=some.floats(-0.1, 0.1),
    busy=some.integers(0, 16),
    now_k=some.integers(1, 7),
    ceiling=some.sampled_from([None, 300, 1024]),
)
def test_a_plain_table_never_raises_k_with_the_batch_and_stays_inside(
    hazard: float, bend: float, busy: int, now_k: int, ceiling: int | None
) -> None:
    running = fleet()
    acceptance = tuple(np.cumprod([hazard] * 7).tolist())
    prior = replace(running.state.prior, costs=scaled(estimated_costs(), 1.0, bend), acceptance=acceptance)
    seen = candidates.outlook(new_state(running.state.environment, prior))
    inside = candidates.allowed(Limits(graph_capture_tokens=ceiling), 7, seen.grid)
    load = np.zeros((17, 2))
    load[busy] = 1.0, 20.0
    table = candidates.plain_table(seen, inside, np.full(256, now_k), load, 0.001)
    assert (np.diff(table) <= 0).all()
    assert inside[table, np.arange(256)].all()


@quickly
@given(low=some.integers(1, 4), high=some.integers(4, 7), batch=some.integers(2, 200))
def test_stock_counters_keep_the_bounds_in_trials_too(low: int, high: int, batch: int) -> None:
    running = fleet(limits=Limits(min_k=low, max_k=high))
    running.run(600, batch, exact=False)
    assert all(set(d.schedule.ks) <= set(range(low, high + 1)) for d in running.decisions)


def test_tokens_that_do_not_add_up_are_suspect() -> None:
    def spoil(samples: list[Sample]) -> list[Sample]:
        halved = [replace(c, generated_tokens=c.generated_tokens / 2) for c in samples[0].cells]
        return [replace(samples[0], cells=tuple(halved)), *samples[1:]]

    running = fleet()
    answer = running.run(60, 40, spoil=spoil)
    assert isinstance(answer, Hold)
    assert answer.reason is Reason.SUSPECT_METRICS


@quickly
@given(steps=some.floats(0, 5), batch=some.sampled_from([16, 40, 90]))
def test_dearer_verification_never_raises_k(steps: float, batch: int) -> None:
    def table(bend: float) -> NDArray[np.int64]:
        running = fleet()
        prior = replace(running.state.prior, costs=scaled(estimated_costs(), 1.0, bend))
        seen = candidates.outlook(new_state(running.state.environment, prior))
        return candidates.best_table(seen, candidates.allowed(Limits(), 7, seen.grid))

    assert table(0.02 + 0.02 * steps)[batch - 1] <= table(0.02)[batch - 1]


@quickly
@given(better=some.floats(0.0, 0.5), batch=some.sampled_from([16, 40, 90]))
def test_a_better_drafter_never_lowers_k(better: float, batch: int) -> None:
    hazards = np.array([0.6] * 7)
    lifted = 1 / (1 + (1 / hazards - 1) * math.exp(-better))

    def k(hazards: np.ndarray) -> int:
        running = fleet()
        prior = replace(running.state.prior, acceptance=tuple(np.cumprod(hazards).tolist()))
        seen = candidates.outlook(new_state(running.state.environment, prior))
        return int(candidates.best_table(seen, candidates.allowed(Limits(), 7, seen.grid))[batch - 1])

    assert k(lifted) >= k(hazards)


def test_a_restarted_engine_is_no_evidence() -> None:
    running = fleet(pods=1)
    running.run(60, 40)
    before = running.state.acceptance.seen_drafts
    running.pods[0].counts.clear()
    running.pods[0].incarnation = "2"
    running.pods[0].serve(running.state.in_force, 40, 15)
    state = observe(running.state, [running.pods[0].sample(running.now + 15)], running.now + 15)
    assert state.acceptance.seen_drafts == before


def test_counters_that_fall_without_a_restart_are_no_evidence() -> None:
    running = fleet(pods=1)
    running.run(60, 40)
    before = running.state.acceptance.seen_drafts
    for row in running.pods[0].counts.values():
        np.multiply(row, 0.5, out=row)
    state = observe(running.state, [running.pods[0].sample(running.now + 15)], running.now + 15)
    assert state.acceptance.seen_drafts == before


@pytest.mark.parametrize("pods", [1, 12])
def test_any_number_of_pods_is_learned_from(pods: int) -> None:
    running = fleet(pods=pods)
    running.run(120, 40)
    assert running.state.acceptance.seen_drafts > 0


def test_pods_keep_their_levels_while_seen_and_yield_them_to_newcomers_when_gone() -> None:
    """After a rollout of eight replicas the old names once held all levels for an hour, and no new pod taught."""
    running = fleet(pods=12)
    for pod, late in zip(running.pods, range(12), strict=True):
        pod.name = f"old-{late:02d}"
    running.run(60, 40)
    before = dict(running.state.slots)
    later = [
        replace(pod.sample(running.now + 15), at=running.now + 15 + 0.01 * i) for i, pod in enumerate(running.pods)
    ]
    assert observe(running.state, later, running.now + 16).slots == before
    for pod in running.pods:
        pod.name = pod.name.replace("old", "new")
    running.run(300, 40)
    assert all(name.startswith("new") for name in running.state.slots)


def test_a_pod_that_went_away_is_forgotten() -> None:
    running = fleet(pods=2)
    running.run(60, 40)
    later = observe(running.state, [running.pods[0].sample(running.now + 4000)], running.now + 4000)
    assert set(later.pods) == {"pod-0"}


def test_trials_take_little_time_and_lose_little() -> None:
    running = fleet(profile=CHAT)
    running.run(2 * 3600, 60, every=30.0)
    spent = sum(d.trial_seconds or 0 for d in running.decisions if d.kind is Kind.TRIAL)
    assert spent / 7200 < 0.05


def in_trial() -> Fleet:
    running = fleet(profile=CHAT)
    while running.state.trial is None:
        running.run(15, 60)
        assert running.now < START + 3600
    return running


def test_a_trial_ends_although_the_traffic_went_away() -> None:
    running = in_trial()
    assert running.state.trial is not None
    back_to = running.state.trial.back_to
    running.run(300, 0.0, every=15.0, spoil=lambda samples: samples[:0])
    assert running.state.trial is None
    assert running.state.in_force == back_to
    assert running.decisions[-1].reason is Reason.TRIAL_ENDED


def test_mode_recommend_ends_a_trial_and_keeps_the_bounds() -> None:
    running = in_trial()
    running.limits = Limits(mode=Mode.RECOMMEND, max_k=5)
    running.run(15, 60)
    assert running.state.trial is None
    assert max(running.state.in_force.ks) <= 5
    assert isinstance(running.run(60, 60), Hold)


def test_what_is_acted_on_is_what_is_in_force() -> None:
    running = fleet()
    running.run(60, 90, act=False)
    decision = running.decisions[-1]
    assert acted(running.state, decision, running.now).in_force == decision.schedule
    assert recommend(running.state, running.limits, running.now, 0.5) == recommend(
        running.state, running.limits, running.now, 0.5
    )
