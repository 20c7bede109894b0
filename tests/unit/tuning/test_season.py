"""The load of each hour of the week: what is remembered, what it weighs, and when a restart waits for a quiet hour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from specdec.api.schedule import constant
from specdec.tuning import (
    Canary,
    Decision,
    Disruption,
    Environment,
    Gain,
    Hold,
    Kind,
    Limits,
    Reason,
    Switching,
    candidates,
    dump,
    estimated_prior,
    load,
    new_state,
    recommend,
    restarts,
    trials,
)
from specdec.tuning.guards import quieter_hour_comes
from specdec.tuning.samples import BATCH_BUCKET_ENDS
from specdec.tuning.season import HOUR, HOURS, Season, quieter_hour, watched
from specdec.tuning.sequential import Running
from specdec.tuning.window import BUCKETS
from tests.support.engines import START, fleet

MONDAY = 4 * 86_400.0  # 1970-01-05, 0 h UTC
WEEK = HOURS * HOUR
ANY_TIME = Limits(switching=Switching.RESTART, disruption=Disruption(1, True, any_time=True))


def after(hours: float, busy: Callable[[int], float], batch: float = 10.0, start: float = MONDAY) -> Season:
    """What is known after `hours` of minutes in which busy(hour of the week) requests were in service."""
    season = Season()
    for minute in range(1, round(hours * 60) + 1):
        now = start + minute * 60.0
        seconds = busy(int((now - MONDAY) // HOUR) % HOURS) * 60.0
        season = watched(season, now, 60.0, seconds, seconds * batch)
    return season


def day_and_night(hour: int) -> float:
    return 80.0 if 8 <= hour % 24 < 20 else 8.0


def test_each_hour_of_the_week_has_its_own_load() -> None:
    season = after(HOURS + 1, float)
    assert season.known == HOURS
    assert season.hours[:, 0].astype(float) == pytest.approx(np.arange(HOURS), abs=0.1)
    assert season.hours[1:, 1].astype(float) == pytest.approx(10.0)


def test_nothing_is_said_of_a_week_before_each_hour_was_seen() -> None:
    season = after(HOURS - 1, day_and_night)
    assert season.known < HOURS
    assert season.load() is None


def test_the_load_of_a_week_is_told_by_batch() -> None:
    found = after(HOURS + 1, day_and_night, batch=10.0).load()
    assert found is not None
    bucket = int(np.searchsorted(BATCH_BUCKET_ENDS, 10))
    assert found.shape == (BUCKETS, 2)
    assert np.flatnonzero(found[:, 0]).tolist() == [bucket]
    assert found[bucket, 1] / found[bucket, 0] == pytest.approx(10.0)
    assert found[bucket, 0] == pytest.approx(7 * 12 * (80 + 8) * HOUR, rel=0.02)


def test_a_week_without_traffic_is_known_too() -> None:
    found = after(HOURS + 1, lambda _: 0.0).load()
    assert found is not None
    assert not found.any()
    assert quieter_hour(after(HOURS + 1, lambda _: 0.0), MONDAY + WEEK) is None


def test_an_hour_that_comes_again_counts_half() -> None:
    season = after(2, lambda _: 10.0)
    season = replace(season, hour=0, seen=0.0, sums=(0.0, 0.0))
    for minute in range(1, 62):
        season = watched(season, MONDAY + WEEK + minute * 60.0 - 60.0, 60.0, 30.0 * 60.0, 0.0)
    assert float(season.hours[0, 0]) == pytest.approx(20.0, abs=0.5)


@pytest.mark.parametrize(("minutes", "counts"), [(29, False), (40, True)])
def test_an_hour_of_which_too_little_was_seen_does_not_count(minutes: int, counts: bool) -> None:
    season = after(minutes / 60, lambda _: 10.0)
    season = watched(season, MONDAY + HOUR + 1.0, 0.0, 0.0, 0.0)
    assert (season.known == 1) is counts
    if counts:
        assert float(season.hours[0, 0]) == pytest.approx(10.0)


def test_what_lies_between_two_scrapes_far_apart_was_not_seen() -> None:
    season = watched(Season(hour=int(MONDAY // HOUR)), MONDAY + 1800.0, 1800.0, 1e6, 1e6)
    assert season.seen == 0.0


@pytest.mark.parametrize(
    ("hour", "waits"), [(12, True), (19.9, True), (20.1, False), (3, False)], ids=["noon", "evening", "night", "dawn"]
)
def test_a_restart_waits_for_a_quiet_hour(hour: float, waits: bool) -> None:
    now = MONDAY + WEEK + hour * HOUR
    state = replace(new_state(Environment(model="m"), estimated_prior()), season=after(HOURS + 1, day_and_night))
    hold = quieter_hour_comes(state, ANY_TIME, now)
    assert (hold is not None) is waits
    if hold is not None:
        assert hold.reason is Reason.QUIETER_HOUR_AHEAD
        assert "80 requests in service" in hold.message
        assert "the one on Mon 20:00 UTC 8" in hold.message


def test_where_users_gave_windows_they_chose_the_hour() -> None:
    state = replace(new_state(Environment(model="m"), estimated_prior()), season=after(HOURS + 1, day_and_night))
    windows = replace(ANY_TIME, disruption=Disruption(1, True))
    assert quieter_hour_comes(state, windows, MONDAY + WEEK + 12 * HOUR) is None


def test_in_the_first_week_no_restart_waits() -> None:
    state = replace(new_state(Environment(model="m"), estimated_prior()), season=after(24, day_and_night))
    assert quieter_hour_comes(state, ANY_TIME, MONDAY + 36 * HOUR) is None


def test_the_wait_ends_by_the_quietest_hour_of_the_week() -> None:
    season, now = after(HOURS + 1, lambda hour: 100.0 - hour / 2), MONDAY + WEEK
    waited = 0.0
    while (found := quieter_hour(season, now)) is not None:
        assert found[2] > 0
        now, waited = now + found[2], waited + found[2]
    assert waited < WEEK


def test_idle_nights_are_not_waited_for() -> None:
    """In them too few drafts are seen for anything to be decided."""
    state = new_state(Environment(model="m"), estimated_prior())
    for night in (0.0, 0.5):
        usual = after(HOURS + 1, lambda hour, night=night: 60.0 if 8 <= hour % 24 < 20 else night)  # type: ignore[misc]
        for hour in range(24):
            now = MONDAY + WEEK + hour * HOUR
            assert quieter_hour_comes(replace(state, season=usual), ANY_TIME, now) is None


def test_hours_in_which_scrapes_failed_are_not_remembered_as_quiet() -> None:
    running = fleet(pods=2)
    running.run(3 * HOUR, 30, every=60.0, act=False)
    known = running.state.season.known
    running.run(3 * HOUR, 30, every=60.0, act=False, spoil=lambda _: [])
    running.run(2 * HOUR, 30, every=60.0, act=False)
    seen = running.state.season.hours[:, 0].astype(float)
    assert known <= running.state.season.known <= known + 3
    assert seen[np.isfinite(seen)] == pytest.approx(60.0, rel=0.15)


def test_pods_that_were_not_read_had_as_much_to_do() -> None:
    running = fleet(pods=2)
    running.run(60, 30)
    turns = iter(range(10**6))
    running.run(2 * HOUR, 30, every=30.0, act=False, spoil=lambda pages: pages[: 1 + next(turns) % 2])
    seen = running.state.season.hours[:, 0].astype(float)
    assert seen[np.isfinite(seen)] == pytest.approx(60.0, rel=0.2)


def test_a_quiet_hour_is_waited_for_only_where_there_is_something_to_do() -> None:
    running = fleet(pods=3, limits=replace(ANY_TIME, replicas=3, trial_possible=True))
    running.run(26 * HOUR, 60, every=300.0, act=False)
    answer = recommend(running.state, running.limits, running.now, 0.5)
    assert isinstance(answer, Decision)
    hour = int((running.now - MONDAY) // HOUR) % HOURS
    busy_now = after(HOURS + 1, lambda h: 80.0 if h == hour else 20.0)
    busy_now.hours[(hour + 80) % HOURS] = np.nan  # the week is not known, the coming day is
    held = recommend(replace(running.state, season=busy_now), running.limits, running.now, 0.5)
    assert isinstance(held, Hold)
    assert (held.reason, held.proposal and held.proposal.kind) == (Reason.QUIETER_HOUR_AHEAD, Kind.RESTART_TRIAL)
    content = replace(running.state, season=busy_now, in_force=answer.schedule, start_k=answer.start_k or 7)
    nothing = recommend(content, running.limits, running.now, 0.5)
    assert isinstance(nothing, Hold)
    assert nothing.reason is not Reason.QUIETER_HOUR_AHEAD


def test_the_others_follow_a_replica_that_delivered_in_a_quiet_hour() -> None:
    won = Running()
    for n in range(30):
        won = won.added(0.10 + 0.001 * (n % 3))
    canary = Canary(3, constant(3, 256), Gain(8.0, 3.0, 13.0), START, START, START + 21 * HOUR, seen=won, peers=9)
    state = replace(new_state(Environment(model="m"), estimated_prior()), canary=canary)
    now = START + 21 * HOUR
    follows = trials.recommend(state, canary, ANY_TIME, now)
    assert isinstance(follows, Decision)
    assert follows.kind is Kind.RESTART
    hour = int((now - MONDAY) // HOUR) % HOURS
    busy_now = after(HOURS + 1, lambda h: 80.0 if h == hour else 20.0)
    waits = trials.recommend(replace(state, season=busy_now), canary, ANY_TIME, now + 10 * 60.0)
    assert isinstance(waits, Hold)
    assert waits.reason is Reason.QUIETER_HOUR_AHEAD
    assert "one replica runs with K = 3" in waits.message


def test_the_tuner_learns_it_from_pages_and_keeps_it() -> None:
    running = fleet(pods=2)
    running.run(3 * HOUR, 30, every=60.0, act=False)
    season = running.state.season
    assert season.known == 3
    at = int((START - MONDAY) // HOUR + 1) % HOURS
    assert float(season.hours[at, 0]) == pytest.approx(60.0, rel=0.1)  # 2 pods with 30 requests each
    kept = load(dump(running.state), running.state.environment, running.state.prior).season
    np.testing.assert_array_equal(kept.hours, season.hours)


def test_a_week_weighs_what_a_restart_gains() -> None:
    running = fleet(pods=3, limits=ANY_TIME)
    running.run(26 * HOUR, 60, every=300.0, act=False)
    seen = candidates.outlook(running.state, patient=True)
    quiet = replace(running.state, season=after(HOURS + 1, lambda _: 2.0, batch=2.0))
    by_day, by_week = (restarts.forecast(state, ANY_TIME, seen).start_k for state in (running.state, quiet))
    assert by_day < by_week
