"""A checkpoint is small, comes back whole, and says why when it cannot be used."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from specdec.api.schedule import Schedule, Tier
from specdec.tuning import (
    Canary,
    CheckpointError,
    Environment,
    Gain,
    Hold,
    Limits,
    Pairs,
    Prior,
    dump,
    estimated_prior,
    explain,
    load,
    new_state,
    observe,
    recommend,
)
from specdec.tuning.season import Season
from specdec.tuning.sequential import Running
from tests.support.engines import BROKEN, START, Fleet, fleet, scaled

LIMIT_BYTES = 16 * 1024


def learned() -> Fleet:
    running = fleet(pods=4)
    for batch in (4, 20, 50, 110):
        running.run(400, batch)
    return running


def test_what_was_learned_comes_back() -> None:
    running = learned()
    environment, prior = running.state.environment, running.state.prior
    text = dump(running.state)
    again = load(text, environment, prior)
    assert len(text) <= LIMIT_BYTES
    assert dump(again) == text
    assert again.in_force == running.state.in_force
    assert again.moves == load(dump(again), environment, prior).moves
    assert again.surface.residual == pytest.approx(running.state.surface.residual, abs=1e-3)


def test_a_full_memory_is_small_enough_for_a_config_map() -> None:
    """Ten moves between fine schedules, a whole week, pairs, a replica on trial."""
    running = learned()
    fine = Schedule(tuple(Tier(1 + 16 * n, 16 * (n + 1), 7 - n % 7) for n in range(16)))
    move = replace(running.state.moves[-1], before=fine, after=fine, realised=Gain(1.23456, -1.23456, 2.34567))
    hours = np.full((168, 2), 12_345.678, dtype=np.float16)
    seen = Running().added(0.0512345).added(0.0498765)
    full = replace(
        running.state,
        moves=(move,) * 10,
        season=Season(hours),
        pairs=Pairs(7, 60.0, START + 0.123456, START + 0.123456, 0.5, seen),
        canary=Canary(3, fine, Gain(1.0, 0.0, 2.0), START + 0.123456),
    )
    assert len(dump(full)) <= LIMIT_BYTES


def test_a_trial_and_a_broken_drafter_survive_a_restart_of_the_operator() -> None:
    running = fleet(profile=BROKEN)
    running.run(120, 20)
    again = load(dump(running.state), running.state.environment, running.state.prior)
    assert again.off
    assert again.disabled_at == running.state.disabled_at
    trying = fleet()
    while trying.state.trial is None:
        trying.run(15, 60)
    again = load(dump(trying.state), trying.state.environment, trying.state.prior)
    assert again.trial == trying.state.trial


def test_a_fresh_state_survives_too() -> None:
    environment, prior = Environment(model="m"), estimated_prior()
    again = load(dump(new_state(environment, prior)), environment, prior)
    assert (
        recommend(again, Limits(), 1e9, 0.5).reason
        == recommend(new_state(environment, prior), Limits(), 1e9, 0.5).reason
    )


CANARY = {
    "startK": 3,
    "schedule": [[1, 256, 3]],
    "expected": [1.0, 0.0, 2.0],
    "began": 1.0,
    "firstSeen": None,
    "lastSeen": None,
    "restarts": 0,
    "seen": [0, 0.0, 0.0],
    "peers": 1,
}
WEIGHTS = len(json.loads(dump(new_state(Environment(), estimated_prior())))["mean"])


def spoilt(**changes: object) -> str:
    document = json.loads(dump(learned().state)) | changes
    return json.dumps({key: value for key, value in document.items() if value is not ...})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("not json", "damaged", id="not JSON"),
        pytest.param("[]", "damaged", id="not an object"),
        pytest.param(spoilt(version=99), "version 99", id="another version"),
        pytest.param(spoilt(environment="another|gpu"), "another environment", id="another environment"),
        pytest.param(spoilt(inForce=[[1, 4, 7], [6, 256, 3]]), "damaged", id="a gap"),
        pytest.param(spoilt(fast=[-1.0] * 45), "negative", id="a negative count"),
        pytest.param(spoilt(fast=[1.0]), "damaged", id="too short"),
        pytest.param(spoilt(spread="AAAA"), "damaged", id="a torn covariance"),
        pytest.param(spoilt(moves=...), "damaged", id="a field missing"),
        pytest.param(spoilt(surprise=float("nan")), "not finite", id="not a number"),
        pytest.param("[" * 100_000, "damaged", id="nested without end"),
        pytest.param(spoilt(firstAt="x"), "damaged", id="a word for a time"),
        pytest.param(spoilt(lastAt=[1.0]), "damaged", id="a list for a time"),
        pytest.param(spoilt(disabledAt=float("inf")), "not finite", id="a time without end"),
        pytest.param(spoilt(canary=CANARY | {"firstSeen": "a"}), "damaged", id="a word for a replica's time"),
        pytest.param(spoilt(canary=CANARY | {"startK": 99}), "a K of 99", id="a replica's K that is none"),
        pytest.param(spoilt(startK=99), "a K of 99, where 0 to 7 are possible", id="a start value that is none"),
        pytest.param(spoilt(inForce=[[1, 256, 99]]), "a K of 99", id="a schedule of a K that is none"),
        pytest.param(spoilt(mean=[1e300] * WEIGHTS), "beyond anything", id="a mean beyond reason"),
    ],
)
def test_a_checkpoint_that_cannot_be_used_says_why(text: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load(text, Environment(model="m", drafter="d"), estimated_prior())


@pytest.mark.parametrize("value", [np.inf, np.nan, 3e38])
def test_a_covariance_beyond_reason_is_refused(value: float) -> None:
    state = learned().state
    torn = replace(state, belief=replace(state.belief, covariance=np.full_like(state.belief.covariance, value)))
    with pytest.raises(CheckpointError, match="finite"), np.errstate(invalid="ignore"):
        load(dump(torn), state.environment, state.prior)


def test_an_operator_that_has_just_restarted_can_still_explain() -> None:
    running = learned()
    again = load(dump(running.state), running.state.environment, running.state.prior)
    assert {row.k for row in explain(again, Limits(), running.now).candidates} == set(range(1, 8))


def dearer(prior: Prior) -> Prior:
    return replace(prior, costs=scaled(prior.costs, 1.2))


@pytest.mark.parametrize(
    ("max_num_seqs", "prior", "why"),
    [
        pytest.param(240, estimated_prior(), "with maxNumSeqs 256, which is 240 now", id="a smaller batch limit"),
        pytest.param(320, estimated_prior(), "with maxNumSeqs 256, which is 320 now", id="a larger batch limit"),
        pytest.param(256, dearer(estimated_prior()), "another release's step times", id="another prior"),
    ],
)
def test_step_costs_relative_to_something_else_are_learned_anew(max_num_seqs: int, prior: Prior, why: str) -> None:
    before, told = learned().state, list[str]()
    environment = replace(before.environment, max_num_seqs=max_num_seqs)
    again = load(dump(before), environment, prior, told.append)
    fresh = new_state(environment, prior)
    assert [why in reason for reason in told] == [True]
    assert (again.belief.mean == fresh.belief.mean).all()
    assert (again.surface.residual == fresh.surface.residual).all()
    assert (again.first_at, again.tried, again.tried_steps.sum()) == (None, {}, 0.0)
    assert again.seen_drafts == pytest.approx(before.seen_drafts, rel=1e-4)
    assert [move.at for move in again.moves] == [move.at for move in before.moves]
    assert isinstance(recommend(observe(again, [], START + 2000.0), Limits(), START + 2000.0, 0.5), Hold)


def test_a_checkpoint_that_does_not_say_what_it_is_relative_to_is_taken_to_fit() -> None:
    state, told = learned().state, list[str]()
    again = load(spoilt(relativeTo=...), state.environment, state.prior, told.append)
    assert told == []
    assert again.surface.residual == pytest.approx(state.surface.residual, abs=1e-3)
