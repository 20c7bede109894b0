"""A calibration of an engine that stands still now and then, to compile. Minutes pass in no time here."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from specdec.api.schedule import Schedule, constant
from specdec.engine.calibration import Calibrated, Calibration, CalibrationError, CalibrationPlan
from specdec.engine.errors import EngineError, EngineUnavailable, InvalidSchedule
from specdec.engine.live import LiveClient
from specdec.engine.patience import LONGEST_WAIT_SECONDS, Patience
from specdec.engine.scrape import ScrapeFailure, Scraper, ScrapeReason
from specdec.engine.speculation import ScheduleInForce, Speculation
from specdec.engine.target import Target
from specdec.tuning import estimated_prior
from specdec.tuning.samples import Sample
from tests.support.clock import in_no_time
from tests.support.engines import Pod
from tests.support.speculation import speculation

MAX_BATCH = 16
TARGET = Target("pod-0", "1", "http://engine", control_token="token")
BEFORE = constant(5, MAX_BATCH)


class Engine:
    """In the place of both clients. still: from when to when its loop answers nobody, seconds.

    mute: its metrics are silent then, too. refuses: a K; it stands still for a while after that.
    """

    def __init__(self, still: tuple[float, float] = (0.0, 0.0), *, mute: bool = False, refuses: int = -1) -> None:
        self.still, self.mute, self.refuses = still, mute, refuses
        self.in_force, self.revision = BEFORE, 3
        self.counted, self.pod = 0.0, Pod("pod-0", estimated_prior().costs)

    async def get(self, _: Target) -> Speculation:
        self._reach()
        return speculation(self._shown(), MAX_BATCH)

    async def put(self, _: Target, schedule: Schedule, *, revision: int) -> ScheduleInForce:
        self._reach()
        if schedule.k_at(1) == self.refuses:
            self.still = (_now(), _now() + 30.0)
            raise InvalidSchedule("pod-0", "no", reason="InvalidSchedule")
        self.in_force, self.revision = schedule, revision
        return ScheduleInForce.model_validate(self._shown())

    async def scrape(self, _: Sequence[Target]) -> tuple[Sample | ScrapeFailure, ...]:
        await asyncio.sleep(0.01)
        if self.mute and self._stands():
            return (ScrapeFailure("pod-0", ScrapeReason.TIMED_OUT, "no complete metrics page within 5 s"),)
        self.pod.serve(self.in_force, 4.0, _now() - self.counted)
        self.counted = _now()
        return (self.pod.sample(_now()),)

    def _stands(self) -> bool:
        return self.still[0] <= _now() < self.still[1]

    def _reach(self) -> None:
        if self._stands():
            raise EngineUnavailable("pod-0", "the engine loop did not answer", reason="EngineUnavailable")

    def _shown(self) -> dict[str, object]:
        k = self.in_force.k_at(1)
        entries = [{"fromBatch": 1, "toBatch": MAX_BATCH, "numSpeculativeTokens": k}] if k else []
        return {"revision": self.revision, "off": not k, "entries": entries}


def _now() -> float:
    return asyncio.get_running_loop().time()


def calibrated(engine: Engine, seconds: float = 60.0) -> tuple[Calibrated | Exception, list[str], float]:
    """The outcome, what was said meanwhile, and how long it took, of K = 0 and 7 at 1 and 4 requests."""
    said: list[str] = []

    async def run() -> tuple[Calibrated | Exception, list[str], float]:
        before = await engine.get(TARGET)
        plan = CalibrationPlan((0, 7), (1, 4), seconds, 100)
        calibration = Calibration(
            TARGET, "model", plan, patience=Patience(said.append, chance=lambda: 1.0),
            live=cast("LiveClient", engine), scraper=cast("Scraper", engine),
        )  # fmt: skip
        try:
            return await calibration.run(before), said, _now()
        except (EngineError, CalibrationError) as error:
            return error, said, _now()

    return in_no_time(run())


@pytest.fixture(autouse=True)
def _no_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    async def client(_: Calibration, __: int) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Calibration, "_client", client)


@pytest.mark.parametrize("mute", [pytest.param(False, id="only its loop"), pytest.param(True, id="its metrics too")])
def test_an_engine_that_stands_still_for_a_while_is_measured_all_the_same(mute: bool) -> None:
    engine = Engine((1.0, 25.0), mute=mute)
    found, said, _ = calibrated(engine)
    assert isinstance(found, Calibrated)
    assert (len(found.measured), found.missing) == (4, ())
    assert len(said) == 1
    assert engine.in_force == BEFORE


def test_an_engine_that_stands_still_at_the_end_gets_its_schedule_back() -> None:
    undisturbed = calibrated(Engine())[2]
    engine = Engine((undisturbed - 0.1, undisturbed + 100.0))
    assert isinstance(calibrated(engine)[0], Calibrated)
    assert engine.in_force == BEFORE


def test_after_a_failure_it_gets_its_schedule_back_as_patiently() -> None:
    engine = Engine(refuses=7)
    found, said, _ = calibrated(engine)
    assert isinstance(found, InvalidSchedule)
    assert len(said) == 1
    assert engine.in_force == BEFORE


def test_an_engine_that_stands_still_for_good_is_given_up() -> None:
    found, said, seconds = calibrated(Engine((1.0, 1e6)))
    assert isinstance(found, EngineUnavailable)
    assert len(said) == 2, "one wait to measure, one to put back"
    assert seconds <= 60.0 + 2 * LONGEST_WAIT_SECONDS
