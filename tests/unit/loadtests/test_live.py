"""Arms at the live endpoint: an engine that stands still is waited for, each gets back its own. No time passes here."""

from __future__ import annotations

import asyncio

import pytest

from loadtests import live
from loadtests.arms import Arm, ArmError
from loadtests.live import LiveEngines
from specdec.engine.patience import LONGEST_WAIT_SECONDS, Patience
from tests.support.clock import in_no_time
from tests.unit.loadtests.engines import Engines

K3 = Arm("K3", k=3)


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> Engines:
    made = Engines("http://a", "http://b", "http://c")
    monkeypatch.setattr(live, "LiveClient", lambda: made)
    monkeypatch.setattr(asyncio, "run", in_no_time)
    return made


def entered(engines: Engines, said: list[str] | None = None) -> LiveEngines:
    tell = (lambda _: None) if said is None else said.append
    return LiveEngines(tuple(engines.ks), None, patience=Patience(tell, chance=lambda: 1.0)).__enter__()


def test_an_engine_that_stands_still_is_waited_for_with_a_line(engines: Engines) -> None:
    said: list[str] = []
    switch = entered(engines, said)
    engines.still = {"http://b": 30.0}
    switch.apply(K3)
    switch.confirm(K3)
    assert set(engines.ks.values()) == {3}
    assert [line.partition("; try again")[0] for line in said] == [
        "waiting for the engine, 120 s at most: http://b: the engine loop did not answer within 4 s"
    ] * 2


def test_an_engine_that_stands_still_at_the_end_gets_its_schedule_back(engines: Engines) -> None:
    with entered(engines) as switch:
        switch.apply(K3)
        engines.still = dict.fromkeys(engines.ks, 100.0)
    assert set(engines.ks.values()) == {7}


def test_a_put_that_was_not_answered_is_repeated_from_what_is_in_force(engines: Engines) -> None:
    switch = entered(engines)
    engines.deaf = {"http://c"}
    switch.apply(K3)
    switch.confirm(K3)
    assert engines.revisions == {"http://a": 1, "http://b": 1, "http://c": 2}


def test_an_engine_that_stands_still_for_good_ends_it_with_a_remedy(engines: Engines) -> None:
    switch = entered(engines)
    engines.still = {"http://b": 10 * LONGEST_WAIT_SECONDS}
    with pytest.raises(ArmError, match=r"http://b: the engine loop did not answer(?s:.)*the same command goes on"):
        switch.apply(K3)


def test_engines_that_are_gone_keep_no_other_from_its_own_schedule(engines: Engines) -> None:
    switch = entered(engines)
    switch.apply(K3)
    engines.gone = {"http://a", "http://c"}
    with pytest.raises(ArmError, match="puts back what was in force before") as raised:
        switch.__exit__(None, None, None)
    assert engines.ks == {"http://a": 3, "http://b": 7, "http://c": 3}
    assert all(url in str(raised.value) for url in engines.gone)


def test_a_put_back_that_fails_hides_nothing_of_what_went_wrong_before(engines: Engines) -> None:
    switch, trouble = entered(engines), ArmError("first trouble")
    engines.gone = {"http://a"}
    with pytest.raises(ArmError, match=r"first trouble(?s:.)*http://a: no connection"):
        switch.__exit__(ArmError, trouble, None)


def test_an_engine_that_restarted_into_the_arms_own_schedule_is_noticed(engines: Engines) -> None:
    switch = entered(engines)
    switch.apply(Arm("K7", k=7))
    switch.confirm(Arm("K7", k=7))
    engines.revisions["http://b"] = 0
    with pytest.raises(ArmError, match="http://b no longer has the schedule of K7: it restarted"):
        switch.confirm(Arm("K7", k=7))
