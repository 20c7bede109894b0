"""How long a busy engine is waited for, and which engine is not. Minutes pass in no time here."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from specdec.engine.errors import (
    EngineError,
    EngineUnavailable,
    EngineUnreachable,
    InvalidSchedule,
    LiveSwitchingUnavailable,
    ProtocolError,
    RevisionConflict,
    Unauthorized,
)
from specdec.engine.patience import LONGEST_PAUSE_SECONDS, LONGEST_WAIT_SECONDS, Patience
from tests.support.clock import in_no_time

BUSY = EngineUnavailable("pod-0", "the engine loop did not answer within 4 s; try again", reason="EngineUnavailable")
SILENT = EngineUnreachable("pod-0", "no answer within 5 s", timed_out=True)


@dataclass
class Engine:
    """Raises `error` until `seconds` have passed; notes when it was asked, and what was said meanwhile."""

    error: EngineError
    seconds: float
    asked: list[float] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    async def ask(self) -> str:
        self.asked.append(asyncio.get_running_loop().time())
        if self.asked[-1] < self.seconds:
            raise self.error
        return "well"

    def patiently(self, **bounds: float) -> str:
        return in_no_time(Patience(self.said.append, chance=lambda: 1.0).answer(self.ask, **bounds))


@pytest.mark.parametrize("error", [pytest.param(BUSY, id="its loop"), pytest.param(SILENT, id="all of it")])
def test_an_engine_that_stands_still_is_asked_again_until_it_answers(error: EngineError) -> None:
    engine = Engine(error, seconds=60.0)
    assert engine.patiently() == "well"
    assert 60.0 <= engine.asked[-1] <= 60.0 + LONGEST_PAUSE_SECONDS
    assert engine.asked[:5] == [0.0, 1.0, 3.0, 7.0, 15.0]


def test_one_line_says_what_is_waited_for() -> None:
    engine = Engine(BUSY, seconds=60.0)
    engine.patiently()
    assert engine.said == [f"waiting for the engine, 120 s at most: {BUSY}"]


def test_an_engine_that_answers_is_not_spoken_of() -> None:
    engine = Engine(BUSY, seconds=0.0)
    assert engine.patiently() == "well"
    assert engine.said == []


@pytest.mark.parametrize(
    ("bounds", "seconds"),
    [
        pytest.param({}, LONGEST_WAIT_SECONDS, id="for two minutes"),
        pytest.param({"until": 30.0}, 30.0, id="until the caller's time is over"),
        pytest.param({"until": 900.0}, LONGEST_WAIT_SECONDS, id="not for all of the caller's time"),
    ],
)
def test_patience_ends_with_the_engines_own_words(bounds: dict[str, float], seconds: float) -> None:
    engine = Engine(BUSY, seconds=3600.0)
    with pytest.raises(EngineUnavailable) as raised:
        engine.patiently(**bounds)
    assert raised.value is BUSY
    assert engine.asked[-1] == seconds


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(EngineUnreachable("pod-0", "no connection"), id="no connection"),
        pytest.param(ProtocolError("pod-0", "no JSON"), id="no contract"),
        *(
            pytest.param(kind("pod-0", "no", reason=kind.__name__), id=kind.__name__)
            for kind in (InvalidSchedule, Unauthorized, RevisionConflict, LiveSwitchingUnavailable)
        ),
    ],
)
def test_what_time_does_not_mend_is_told_at_once(error: EngineError) -> None:
    engine = Engine(error, seconds=60.0)
    with pytest.raises(EngineError) as raised:
        engine.patiently()
    assert raised.value is error
    assert (engine.asked, engine.said) == ([0.0], [])
