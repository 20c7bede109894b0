"""Requests are served for as long as they take, and what they never receive counts for nobody."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from specdec.simulate import arrivals, run, workloads
from specdec.simulate.arrivals import CHUNK_SECONDS, Arrivals
from specdec.simulate.lanes import Advanced, Lanes
from specdec.simulate.measures import Line, Measures, Mix, true_gain_percent
from specdec.simulate.run import ADVANCE_SECONDS
from specdec.simulate.suite import borrowed_costs
from specdec.simulate.workloads import Scrape, Workload
from specdec.simulate.world import World, build, within_advance
from specdec.tuning import Prior, acceptance_profiles, estimated_costs, estimated_prior
from specdec.tuning.prior import ESTIMATED_PROFILES, packaged

PROFILES = acceptance_profiles(packaged(ESTIMATED_PROFILES))


def workload(**changes: Any) -> Workload:
    half = ((0.0, {"math": 0.5, "hard": 0.5}),)
    one: dict[str, Any] = {"balance": (1.0,), "slower": (1.0,), "mix": half}
    plain = one | {"seconds": CHUNK_SECONDS, "load": ((0.0, 0.2),)}
    return replace(workloads.find("steady"), **(plain | changes))


def world_of(**changes: Any) -> World:
    return within_advance(build(workload(**changes), estimated_costs(), PROFILES), ADVANCE_SECONDS)


def one_request(world: World, kind: int, tokens: float, replica: int = 0) -> arrivals.Block:
    """A chunk in which a single request comes, at once."""
    request = Arrivals(
        np.array([0.0]), np.array([replica]), np.array([kind]), np.array([tokens]), np.zeros(1), np.full(1, 0.5)
    )
    return arrivals.block(world, [request], 0.0, ADVANCE_SECONDS)


class TestOneRequest:
    @pytest.mark.parametrize("k", [0, 4, 7])
    def test_the_longest_answer_of_the_slowest_class_is_served_to_its_end(self, k: int) -> None:
        world = world_of()
        kind = int(world.length[k].argmin())
        lanes = Lanes(world, 1, 1, ADVANCE_SECONDS)
        lanes.tables[:] = k
        block, still = one_request(world, kind, world.longest_tokens), np.ones(1)
        served = sum(float(lanes.advance(block, i, still).requests.sum()) for i in range(block.count.shape[0]))
        needed = world.longest_tokens / world.length[k, kind] * world.seconds[world.max_k, k, 1]
        assert needed < CHUNK_SECONDS, "the chunk is too short to tell"
        assert served * ADVANCE_SECONDS == pytest.approx(needed, rel=0.01)

    def test_an_engine_that_goes_away_takes_what_was_still_to_come(self) -> None:
        world = world_of()
        kind = int(world.length[7].argmax())
        lanes, block, still = Lanes(world, 1, 1, ADVANCE_SECONDS), one_request(world, kind, 6000.0), np.ones(1)
        done = lanes.advance(block, 0, still)
        received = done.steps[0, 0] * world.length[7, kind]
        lanes.up[0, 0] = False
        lanes.clear(0, 0)
        cut = lanes.advance(block, 1, still).cut[0, 0] * world.length[7, kind]
        assert received + cut == pytest.approx(6000.0, rel=0.02)
        assert lanes.advance(block, 2, still).cut[0, 0] == 0.0

    def test_with_its_only_engine_away_a_request_waits(self) -> None:
        world = world_of()
        lanes, block, still = Lanes(world, 1, 1, ADVANCE_SECONDS), one_request(world, 0, 100.0), np.ones(1)
        lanes.up[0, 0] = False
        away = lanes.advance(block, 0, still)
        assert (away.requests.sum(), away.arrived.sum(), lanes.waiting.sum()) == (0.0, 0.0, 1.0)
        lanes.up[0, 0] = True
        assert lanes.advance(block, 1, still).arrived.sum() == 1.0
        assert lanes.waiting.sum() == 0.0


class TestArrivals:
    def test_a_mix_that_comes_and_goes_within_half_an_hour_arrives(self) -> None:
        good, poor = {"math": 1.0, "hard": 0.0}, {"math": 0.0, "hard": 1.0}
        world = world_of(mix=((0.0, good), (0.1, good), (0.11, poor), (0.4, poor), (0.41, good)))
        (fleet,) = arrivals.stream(world, 3)
        between = (fleet.at > 0.12 * 3600) & (fleet.at < 0.39 * 3600)
        poor_classes = np.flatnonzero(world.class_shares(0.2 * 3600) > 0)
        assert between.sum() > 50
        assert np.isin(fleet.kind[between], poor_classes).all()
        assert not np.isin(fleet.kind[fleet.at < 0.1 * 3600], poor_classes).any()

    def test_hardly_any_token_is_cut_however_long_answers_are(self) -> None:
        world = world_of(output_tokens=(16000.0, 1.0), load=((0.0, 0.5),), seconds=20 * CHUNK_SECONDS)
        asked = np.concatenate([fleet.output_tokens for fleet in arrivals.stream(world, 3)])
        assert np.minimum(asked, world.longest_tokens).sum() > 0.97 * asked.sum()


@pytest.mark.parametrize(("asked", "kept"), [(1.0, 2.5), (12.0, 12.5), (15.0, 15.0)])
def test_scrapes_come_at_the_ends_of_whole_advances(asked: float, kept: float) -> None:
    assert world_of(scrape=Scrape(asked)).workload.scrape.interval == kept


class TestMeasures:
    def advanced(self, world: World, backlog: float = 0.0) -> Measures:
        """One advance of one lane at K = 3, 100 requests present, steps of 35 ms. backlog: seconds of prompts."""
        lane = np.ones((1, 1))
        k = np.full((1, 1), 3)
        done = Advanced(k, k, 0.035 * lane, 70 * lane, 0 * lane, 100 * lane, 0 * lane, lane, 0 * lane)
        measures = Measures(world, 1, 1, 15.0)
        measures.add(done, Line(0 * lane, backlog * lane), 0.0, 2.5, Mix.at(world, 0.0))
        return measures

    def test_a_target_is_met_for_those_classes_that_are_fast_enough(self) -> None:
        world = world_of(slo_tpot_ms=15.0, request_spread=0.0)
        good, poor = (world.length[3, world.class_shares(0.0) > 0][i] for i in (0, -1))
        assert 35.0 / good < 15.0 < 35.0 / poor, "the target must lie between the two profiles"
        assert self.advanced(world).slo_percent()[0, 0] == pytest.approx(50.0)

    def test_prompts_that_pile_up_miss_the_first_token(self) -> None:
        world = world_of(slo_tpot_ms=1000.0, slo_ttft_seconds=2.0)
        assert self.advanced(world).slo_percent()[0, 0] == pytest.approx(100.0)
        assert self.advanced(world, backlog=3.0).slo_percent()[0, 0] == 0.0

    def test_a_restart_is_judged_by_what_each_start_value_costs(self) -> None:
        long, short = np.array([[2.0, 2.0]]), np.array([[1.0, 1.0]])
        zeros, seen = np.zeros(2, dtype=np.int64), np.array([0.0, 1.0])
        assert true_gain_percent(zeros, zeros, (long, short), seen) == pytest.approx(100.0)


def test_a_row_does_not_depend_on_which_other_policies_are_run() -> None:
    lossy = replace(workloads.find("lossy"), seconds=1800.0)
    world = build(lossy, estimated_costs(), PROFILES)
    guess = estimated_prior()
    prior = Prior(borrowed_costs(), guess.acceptance, guess.acceptance_drafts)
    alone = run.Run(world, ("specdec-live",), (5,), prior).go().measures.tpot_ms()[0]
    among = run.Run(world, ("constant-2", "ucb", "specdec-live", "specdec-live-stock"), (5,), prior).go()
    assert among.measures.tpot_ms()[2] == pytest.approx(alone, rel=1e-9)
