"""A start value on one replica: when it is tried, how it is compared, and what ends it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from specdec.api.schedule import Schedule, constant
from specdec.tuning import (
    Constraint,
    Decision,
    Disruption,
    Environment,
    Gain,
    Hold,
    Kind,
    LatencyMetric,
    Limits,
    Reason,
    State,
    Switching,
    acted,
    canary_in_words,
    dump,
    estimated_prior,
    in_line,
    load,
    new_state,
    observe,
    recommend,
    summarise,
)
from tests.support.engines import CHAT, HARD, START, Pod, fleet

LIMITS = Limits(
    switching=Switching.RESTART,
    disruption=Disruption(1, True),
    replicas=3,
    trial_possible=True,
    trial_start_seconds=900.0,
)
TRIED = constant(3, 256)
PROMISED = Gain(8.0, 3.0, 13.0)
HOUR = 3600.0


@dataclass
class Fleet:
    """Two peers and one replica on trial. faster: how much less time a step of the replica takes than a peer's."""

    faster: float = 0.0
    profile: Sequence[float] = CHAT
    exact: bool = True
    state: State = field(default_factory=lambda: new_state(Environment(model="m", drafter="d"), estimated_prior()))
    limits: Limits = LIMITS
    now: float = START
    answer: Decision | Hold | None = None
    pods: list[Pod] = field(init=False)

    def __post_init__(self) -> None:
        costs = estimated_prior().costs
        self.pods = [Pod(f"pod-{n}", costs, self.profile, chance=np.random.default_rng(n)) for n in range(3)]
        self.pods[2].slower = 1.0 - self.faster
        self.state = acted(self.state, decision(self.now), self.now)

    def run(self, seconds: float, batch: float = 40.0, every: float = 60.0, serves: bool = True) -> Decision | Hold:
        """Until something is decided, or for `seconds`."""
        until = self.now + seconds
        while self.now < until:
            self.now += every
            for pod in self.pods:
                pod.serve(constant(7, 256), batch, every)
            samples = [pod.sample(self.now, exact=self.exact) for pod in self.pods[:2]]
            if serves:
                samples.append(replace(self.pods[2].sample(self.now, exact=self.exact), on_trial=True))
            self.state = observe(self.state, samples, self.now)
            self.answer = recommend(self.state, self.limits, self.now, 0.5)
            if isinstance(self.answer, Decision):
                break
        assert self.answer is not None
        return self.answer


def decision(at: float, schedule: Schedule = TRIED) -> Decision:
    start = max(schedule.ks)
    return Decision(Kind.RESTART_TRIAL, schedule, PROMISED, Reason.BETTER_START_VALUE, "try", at, start_k=start)


def test_a_promising_start_value_is_tried_on_one_replica_first() -> None:
    running = fleet(pods=3, profile=HARD, limits=LIMITS)
    running.run(25 * HOUR, 60, every=300.0, act=False)
    proposed = next(answer for answer in running.answers if isinstance(answer, Decision))
    assert proposed.kind is Kind.RESTART_TRIAL
    assert proposed.start_k is not None
    assert proposed.start_k < 7
    assert proposed.at - START >= 24 * HOUR
    assert "one of 3 replicas tries" in proposed.message


def test_what_would_be_tried_is_recommended_before_a_restart_may_be() -> None:
    running = fleet(pods=3, profile=HARD, limits=LIMITS)
    answer = running.run(2 * HOUR, 60, every=300.0, act=False)
    assert isinstance(answer, Hold)
    assert answer.reason is Reason.NOT_YET_A_DAY
    shown = summarise(running.state, LIMITS)
    tried = recommend(replace(running.state, first_at=running.now - 25 * HOUR), LIMITS, running.now, 0.5)
    assert isinstance(tried, Decision)
    assert (shown.recommended, shown.recommended_gain) == (tried.schedule, tried.gain)


def test_what_is_in_force_is_recommended_where_too_little_is_known_to_try_another() -> None:
    running = fleet(pods=3, profile=CHAT, limits=LIMITS)
    running.run(2 * HOUR, 3, every=300.0, act=False)
    shown = summarise(running.state, LIMITS)
    assert (shown.recommended, shown.recommended_gain) == (constant(7, 256), Gain(0.0, 0.0, 0.0))


def test_a_target_that_no_start_value_meets_is_told_where_a_restart_would_not_pay() -> None:
    target = Constraint(LatencyMetric.TIME_PER_OUTPUT_TOKEN, 95, 0.001)
    running = fleet(pods=3, profile=HARD, limits=replace(LIMITS, min_gain_percent=50.0, constraints=(target,)))
    answer = running.run(25 * HOUR, 60, every=300.0, act=False)
    assert isinstance(answer, Hold)
    assert answer.reason is Reason.CONSTRAINT_AT_RISK
    assert "add replicas or raise it" in answer.message


def test_a_single_replica_has_no_peer_and_is_restarted_directly() -> None:
    limits = replace(LIMITS, replicas=1, trial_possible=False)
    running = fleet(pods=1, profile=HARD, limits=limits)
    running.run(25 * HOUR, 60, every=300.0, act=False)
    proposed = next(answer for answer in running.answers if isinstance(answer, Decision))
    assert proposed.kind is Kind.RESTART
    assert "no second replica" in proposed.message


def test_what_is_tried_leaves_what_is_in_force_alone() -> None:
    running = Fleet()
    assert running.state.in_force == constant(7, 256)
    assert running.state.start_k == 7
    assert running.state.canary is not None
    assert running.state.restarted_at == START


@pytest.mark.parametrize("exact", [True, False], ids=["exact counters", "stock counters"])
def test_a_replica_that_is_clearly_faster_is_followed_by_the_others(exact: bool) -> None:
    running = Fleet(faster=0.10, exact=exact)
    answer = running.run(12 * HOUR)
    assert isinstance(answer, Decision)
    assert (answer.kind, answer.reason) == (Kind.RESTART, Reason.TRIAL_DELIVERED)
    assert (answer.schedule, answer.start_k) == (TRIED, 3)
    assert answer.gain.mean_percent == pytest.approx(11.1, abs=2.0)
    assert answer.gain.lower_percent > 0
    after = acted(running.state, answer, running.now)
    assert after.canary is None
    assert (after.in_force, after.start_k) == (TRIED, 3)


def test_a_slower_replica_is_taken_back_soon_and_not_tried_again_for_a_week() -> None:
    running = Fleet(faster=-0.12)
    answer = running.run(2 * HOUR)
    assert isinstance(answer, Decision)
    assert (answer.kind, answer.reason) == (Kind.END_TRIAL, Reason.DID_NOT_DELIVER)
    assert "slower" in answer.message
    assert answer.gain.upper_percent < 0
    after = acted(running.state, answer, running.now)
    assert after.canary is None
    assert after.in_force == constant(7, 256)
    assert after.failed == {3: running.now}


def test_a_start_value_that_failed_is_not_proposed_again_for_a_week() -> None:
    running = fleet(pods=3, profile=HARD, limits=LIMITS)
    running.run(25 * HOUR, 60, every=300.0, act=False)
    proposed = next(answer for answer in running.answers if isinstance(answer, Decision))
    assert proposed.start_k is not None
    running.state = replace(running.state, failed={proposed.start_k: running.now})
    answer = recommend(running.state, LIMITS, running.now, 0.5)
    assert isinstance(answer, Hold)
    assert answer.reason is Reason.GAIN_UNCERTAIN
    assert "not again for 168 h" in answer.message


def test_a_gain_below_what_a_restart_must_bring_is_taken_back() -> None:
    running = Fleet(faster=0.01)
    answer = running.run(24 * HOUR)
    assert isinstance(answer, Decision)
    assert (answer.kind, answer.reason) == (Kind.END_TRIAL, Reason.DID_NOT_DELIVER)
    assert "less than the 3 %" in answer.message


def test_what_is_not_clear_after_a_day_is_inconclusive() -> None:
    running = Fleet(faster=0.02, limits=replace(LIMITS, min_gain_percent=2.5))
    answer = running.run(25 * HOUR)
    assert isinstance(answer, Decision)
    assert (answer.kind, answer.reason) == (Kind.END_TRIAL, Reason.TRIAL_INCONCLUSIVE)


def test_a_replica_that_does_not_serve_within_its_time_is_taken_back() -> None:
    running = Fleet(faster=0.1)
    waiting = running.run(900.0, serves=False)
    assert isinstance(waiting, Hold)
    assert waiting.reason is Reason.TRIAL_RUNNING
    assert "does not serve yet (900 of at most 900 s)" in waiting.message
    answer = running.run(60.0, serves=False)
    assert isinstance(answer, Decision)
    assert (answer.kind, answer.reason) == (Kind.END_TRIAL, Reason.TRIAL_NOT_READY)


def test_a_replica_that_ceases_to_serve_is_taken_back() -> None:
    running = Fleet()
    assert isinstance(running.run(120.0), Hold)
    answer = running.run(1200.0, serves=False)
    assert isinstance(answer, Decision)
    assert answer.reason is Reason.TRIAL_NOT_READY


def test_an_engine_that_restarts_again_and_again_is_taken_back() -> None:
    running = Fleet()
    for life in range(3):
        running.pods[2].incarnation, running.pods[2].counts = str(life), {}
        answer = running.run(120.0)
    assert isinstance(answer, Decision)
    assert answer.reason is Reason.TRIAL_NOT_READY
    assert "restarted 2 times" in answer.message


def test_the_others_follow_only_in_an_open_window() -> None:
    running = Fleet(faster=0.15, limits=replace(LIMITS, disruption=Disruption(0, False)))
    answer = running.run(6 * HOUR)
    assert isinstance(answer, Hold)
    assert answer.reason is Reason.OUTSIDE_WINDOW
    running.limits = replace(LIMITS, disruption=Disruption(0, True))
    answer = running.run(60.0)
    assert isinstance(answer, Decision)
    assert answer.kind is Kind.RESTART, "the trial has spent the budget for its rollout too"


def test_a_change_of_load_that_hits_both_sides_decides_nothing() -> None:
    running = Fleet(faster=0.0, limits=replace(LIMITS, min_gain_percent=0.0))
    for batch in (10, 90, 20, 60):
        answer = running.run(0.5 * HOUR, batch)
    assert isinstance(answer, Hold)
    assert running.state.canary is not None
    gain = running.state.canary.gain()
    assert gain is not None
    assert abs(gain.mean_percent) < 1.0


def test_a_fleet_without_traffic_compares_nothing() -> None:
    running = Fleet()
    for pod in running.pods:
        pod.serve = lambda *_: None  # type: ignore[method-assign]
    answer = running.run(HOUR)
    assert isinstance(answer, Hold)
    assert running.state.canary is not None
    assert running.state.canary.gain() is None
    assert "too few" in answer.message


def test_the_replica_on_trial_is_no_evidence_on_what_the_others_run() -> None:
    running = Fleet(faster=0.5)
    running.run(HOUR)
    assert set(running.state.pods) == {"pod-0", "pod-1"}


def test_a_trial_survives_a_restart_of_the_operator() -> None:
    running = Fleet(faster=0.03)
    running.run(HOUR)
    again = load(dump(running.state), running.state.environment, running.state.prior)
    before, after = running.state.canary, again.canary
    assert before is not None
    assert after is not None
    assert replace(before, pods={}, window=None) == after
    assert canary_in_words(before) == canary_in_words(after)


def test_a_state_that_was_stored_before_there_were_trials_is_read() -> None:
    state = new_state(Environment(model="m"), estimated_prior())
    text = dump(state).replace('"canary":null,"failed":{},', "")
    assert "canary" not in text
    assert load(text, state.environment, state.prior).canary is None


def test_what_others_decided_ends_a_trial() -> None:
    running = Fleet()
    assert in_line(running.state, constant(7, 256), 7, on_trial=True) is running.state
    assert in_line(running.state, constant(7, 256), 7, on_trial=False).canary is None
    moved = in_line(running.state, TRIED, 3, on_trial=True)
    assert (moved.in_force, moved.start_k) == (TRIED, 3)
    assert moved.canary is running.state.canary


def test_no_replica_is_taken_away_while_another_is_missing() -> None:
    running = fleet(pods=3, profile=HARD, limits=replace(LIMITS, serving=2))
    running.run(25 * HOUR, 60, every=300.0, act=False)
    answer = running.answers[-1]
    assert isinstance(answer, Hold)
    assert answer.reason is Reason.ROLLOUT_IN_PROGRESS
    assert "2 of 3 replicas serve" in answer.message


def test_a_fleet_whose_peers_would_saturate_is_not_restarted() -> None:
    running = fleet(pods=3, profile=HARD, limits=replace(LIMITS, max_num_seqs=80))
    running.run(25 * HOUR, 60, every=300.0, act=False)
    answer = running.answers[-1]
    assert isinstance(answer, Hold)
    assert answer.reason is Reason.WOULD_SATURATE
    assert "more than maxNumSeqs" in answer.message
