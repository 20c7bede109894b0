"""One comparison of an untuned time with those before and after it: what passes for a gain, and what does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from specdec.api.schedule import Schedule, constant
from specdec.tuning import Finding, Pairs, estimated_prior
from specdec.tuning.pairs import Pair, observed
from tests.support.engines import CHAT, START, Pod

HOUR, MINUTE = 3600.0, 60.0
COSTS = estimated_prior().costs


def slower(before: float, after: float) -> float:
    """How much longer a step of K = 7 takes at another batch, log units."""
    steps = COSTS.step_ms(7, np.array([before, after]))
    return float(np.log(steps[1] / steps[0]))


def true_gain(tuned: int, untuned: int, batch: float, profile: Sequence[float] = CHAT) -> float:
    steps = [float(COSTS.step_ms(k, np.array([batch]))[0]) / (1 + sum(profile[:k])) for k in (untuned, tuned)]
    return float(np.log(steps[0] / steps[1]))


@dataclass
class Traffic:
    """Pods that serve what they are told, time after time. late: pods that go on with the K before for a while."""

    pods: list[Pod] = field(default_factory=lambda: [Pod(f"pod-{n}", COSTS, chance=chance(n)) for n in range(2)])
    late: Mapping[str, Schedule] = field(default_factory=dict)
    now: float = START
    exact: bool = True

    def serve(self, pairs: Pairs, schedule: Schedule, batch: float, away: str = "") -> Pairs:
        """A minute; `schedule` has just come into force. away: a pod of which no page is read."""
        changed_at = self.now
        while self.now < changed_at + MINUTE:
            self.now += 15.0
            for pod in self.pods:
                pod.serve(self.late.get(pod.name, schedule), batch, 15.0)
            samples = [pod.sample(self.now, exact=self.exact) for pod in self.pods if pod.name != away]
            pairs = observed(pairs, samples, schedule, changed_at, self.now, slower=slower)
        return pairs

    def pair(self, pairs: Pairs, tuned: Schedule, untuned: Schedule, batches: tuple[float, float]) -> Pairs:
        """Tuned, untuned, tuned, at `batches` with and without tuning."""
        pairs = self.serve(pairs, tuned, batches[0])
        pairs = began(pairs, self.now)
        pairs = self.serve(pairs, untuned, batches[1])
        pairs = back(pairs, self.now)
        return self.serve(pairs, tuned, batches[0])


def chance(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def fresh() -> Pairs:
    """Watched from the beginning."""
    return Pairs(7, MINUTE, START, START, 0.5, due_at=START)


def began(pairs: Pairs, now: float) -> Pairs:
    return replace(pairs, last_at=now, under_way=Pair(pairs.before()), lately=())


def back(pairs: Pairs, now: float) -> Pairs:
    assert pairs.under_way is not None
    return replace(pairs, under_way=replace(pairs.under_way, back_at=now))


def test_a_faster_side_has_the_smaller_batch_and_gains_nothing_by_that() -> None:
    def measured(batches: tuple[float, float]) -> float:
        traffic, pairs = Traffic(), fresh()
        for _ in range(6):
            pairs = traffic.pair(pairs, constant(4, 256), constant(7, 256), batches)
        assert pairs.seen.count == 6
        return pairs.seen.mean

    assert measured((40.0, 45.0)) == pytest.approx(measured((40.0, 40.0)), abs=0.005)


def test_what_drifts_evenly_cancels_out() -> None:
    traffic, pairs = Traffic(), fresh()
    for n in range(5):
        for pod in traffic.pods:
            pod.slower = 1.0 + 0.3 * n
        pairs = traffic.serve(pairs, constant(3, 256), 30.0)
        pairs = began(pairs, traffic.now)
        for pod in traffic.pods:
            pod.slower += 0.1
        pairs = traffic.serve(pairs, constant(7, 256), 30.0)
        pairs = back(pairs, traffic.now)
        for pod in traffic.pods:
            pod.slower += 0.1
        pairs = traffic.serve(pairs, constant(3, 256), 30.0)
    assert pairs.seen.mean == pytest.approx(true_gain(3, 7, 30.0), abs=0.006)


def test_an_engine_that_was_not_told_does_not_count() -> None:
    traffic, pairs, tuned = Traffic(), fresh(), constant(3, 256)
    traffic.late = {"pod-1": tuned}
    for _ in range(4):
        pairs = traffic.pair(pairs, tuned, constant(7, 256), (30.0, 30.0))
    assert pairs.seen.mean == pytest.approx(true_gain(3, 7, 30.0), abs=0.01)


def test_a_slow_pod_that_was_not_seen_all_the_time_does_not_count() -> None:
    traffic, pairs, same = Traffic(), fresh(), constant(5, 256)
    traffic.pods[1].slower = 1.2
    for _ in range(4):
        pairs = traffic.serve(pairs, same, 30.0)
        pairs = began(pairs, traffic.now)
        pairs = traffic.serve(pairs, same, 30.0, away="pod-1")
        pairs = back(pairs, traffic.now)
        pairs = traffic.serve(pairs, same, 30.0)
    assert pairs.seen.count == 4
    assert pairs.seen.mean == pytest.approx(0.0, abs=0.01)


def test_an_engine_that_restarted_meanwhile_does_not_count() -> None:
    traffic, pairs, tuned = Traffic(), fresh(), constant(3, 256)
    pairs = traffic.serve(pairs, tuned, 30.0)
    pairs = began(pairs, traffic.now)
    traffic.pods[0].counts, traffic.pods[0].incarnation, traffic.pods[0].slower = {}, "2", 3.0
    pairs = traffic.serve(pairs, constant(7, 256), 30.0)
    pairs = traffic.serve(back(pairs, traffic.now), tuned, 30.0)
    assert pairs.seen.count == 1
    assert pairs.seen.mean == pytest.approx(true_gain(3, 7, 30.0), abs=0.02)


def test_equal_schedules_are_found_equal() -> None:
    traffic, pairs, same = Traffic(), fresh(), constant(5, 256)
    for _ in range(12):
        pairs = traffic.pair(pairs, same, same, (30.0, 30.0))
    gain = pairs.gain()
    assert gain is not None
    assert gain.lower_percent < 0.0 < gain.upper_percent
    assert pairs.finding is Finding.OPEN


def test_a_pair_whose_pods_are_not_seen_is_given_up() -> None:
    pairs = began(fresh(), START)
    assert observed(pairs, (), constant(7, 256), START, START + 239.0, slower=slower).under_way is not None
    assert observed(pairs, (), constant(7, 256), START, START + 241.0, slower=slower).under_way is None


def test_the_time_before_is_kept_in_a_few_slices() -> None:
    traffic, pairs = Traffic(), replace(fresh(), seconds=HOUR)
    for _ in range(70):
        pairs = traffic.serve(pairs, constant(3, 256), 30.0)
    assert 3 <= len(pairs.lately) <= 6
    tokens = sum(done[1] for work in pairs.before().values() for done in work.values())
    each = 2 * 30.0 * HOUR / (float(COSTS.step_ms(3, np.array([30.0]))[0]) / 1000.0) * (1 + sum(CHAT[:3]))
    assert 0.5 * each < tokens <= each  # an interval in which the schedule was told anew does not count


def test_stock_counters_lose_no_pair_at_the_border_of_a_bucket() -> None:
    traffic, pairs = Traffic(exact=False), fresh()
    for _ in range(6):
        pairs = traffic.pair(pairs, constant(3, 256), constant(7, 256), (44.0, 53.0))
    assert pairs.seen.count == 6
    assert pairs.seen.mean == pytest.approx(true_gain(3, 7, 44.0), abs=0.02)
