"""The search for the highest rate within the objectives, against servers whose limit is known."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.generator.job import Progress
from loadtests.peak import Peak, Search, Trial, carried, read_peaks, search
from loadtests.plan import PlanError
from loadtests.preflight import TargetError
from loadtests.records import RequestRecord, RunFolderError, RunInfo, Target, read_run
from loadtests.run import EnoughSeen, Options
from loadtests.stats import Estimate
from loadtests.trials import Trials, TrialWatch, find_peaks, trial_plan
from tests.unit.loadtests.builders import plan, record, run_folder


def find(limit: float, settings: Search) -> tuple[float | None, float | None, int]:
    """Peak, the lowest rate that failed, and how many trials it took."""
    rates, tried = search(settings), 1
    rate = next(rates)
    try:
        while True:
            rate, tried = rates.send(rate <= limit), tried + 1
    except StopIteration as found:
        return (*found.value, tried)


@given(st.floats(0.6, 400))
def test_the_limit_is_found_within_the_precision(limit: float) -> None:
    rate, beyond, trials = find(limit, Search(precision=0.05))
    assert rate is not None
    assert beyond is not None
    assert rate <= limit < beyond <= rate * 1.051
    assert trials <= 17


def test_a_server_that_keeps_no_promise_has_no_peak() -> None:
    assert find(0.1, Search()) == (None, 0.5, 1)


def test_a_server_beyond_the_range_is_said_to_be() -> None:
    assert find(1e9, Search(high=64))[:2] == (64, None)


def test_a_range_of_one_rate_is_one_trial() -> None:
    assert find(1e9, Search(low=4, high=4)) == (4, None, 1)


@pytest.mark.parametrize("wrong", [{"low": 0}, {"low": 9, "high": 8}, {"share": 95}, {"precision": 0}])
def test_a_search_that_cannot_be_is_explained(wrong: dict[str, float]) -> None:
    with pytest.raises(PlanError, match="must be"):
        Search(**wrong)


def watch(queue: Sequence[int], done: Sequence[int] | None = None, missed: int = 0) -> TrialWatch:
    watching = TrialWatch(may_miss=5)
    for t, (waiting, ended) in enumerate(zip(queue, done or [1000] * len(queue), strict=True)):
        watching("a", Progress(float(t), ended + waiting, ended, 0, 0, 0.0, missed))
    return watching


def served(rate: float, capacity: float, seconds: int, each: float) -> Iterator[tuple[int, int]]:
    """In flight and done, second by second, of a server that takes `each` seconds and ends `capacity` per second."""
    for t in range(seconds):
        done = min(rate, capacity) * max(0.0, t - each)
        yield round(rate * t - done), round(done)


def test_a_queue_that_only_grows_ends_the_trial() -> None:
    queue, done = zip(*served(20, 12, 40, 1.0), strict=True)
    with pytest.raises(EnoughSeen):
        watch(queue, done)


@pytest.mark.parametrize("each", [0.5, 5.0, 12.0])
def test_a_server_that_keeps_up_is_not_taken_for_one_that_does_not(each: float) -> None:
    queue, done = zip(*served(10, 100, 60, each), strict=True)
    assert not watch(queue, done).stopped


@pytest.mark.parametrize(
    "queue", [[40] * 60, [20, 30, 40, 30, 20] * 12, list(range(15))], ids=["steady", "waves", "small"]
)
def test_a_queue_that_does_not_keep_growing_ends_nothing(queue: list[int]) -> None:
    assert not watch(queue).stopped


def test_a_trial_that_cannot_pass_any_more_ends() -> None:
    assert not watch([1], missed=5).stopped
    with pytest.raises(EnoughSeen):
        watch([1], missed=6)


def test_a_trial_is_the_first_phase_at_one_rate() -> None:
    made = trial_plan(plan({"name": "heavy", "load": {"users": 9}, "mix": {"code": 1}}, warmupSeconds=2), 3.0, 30.0)
    assert made.phases[0].load.rate == 3.0
    assert made.phases[0].mix == {"code": 1}
    assert made.seconds == 32


class Known(Trials):
    """An arm whose limit is known, instead of trials that run."""

    limit: float
    log: list[str]

    def _run(self, rate: float, folder: Path) -> Trial:
        folder.mkdir(parents=True)
        self.log.append(self.name)
        return Trial(rate, Estimate(1.0 if rate <= self.limit else 0.2), rate <= self.limit)


def known(folder: Path, name: str, limit: float, log: list[str], share: float = 0.95) -> Known:
    arm = Known(plan(), Target(name, "http://t"), folder, Options(), Search(share=share))
    object.__setattr__(arm, "limit", limit)
    object.__setattr__(arm, "log", log)
    return arm


def test_arms_take_turns_and_a_search_that_was_cut_off_runs_no_trial_twice(tmp_path: Path) -> None:
    log: list[str] = []
    wanted = plan(objectives={"tpotMs": 10})
    arms = [known(tmp_path, "K0", 5, log), known(tmp_path, "auto", 8, log)]
    peaks = find_peaks(wanted, arms, "K0", lambda *_: None)
    assert log[:6] == ["K0", "auto"] * 3
    assert [peak.name for peak in peaks] == ["K0", "auto"]
    again: list[str] = []
    arms = [known(tmp_path, "K0", 5, again), known(tmp_path, "auto", 8, again)]
    assert find_peaks(wanted, arms, "K0", lambda *_: None) == peaks
    assert not again
    assert read_peaks(tmp_path)[1] == peaks
    with pytest.raises(RunFolderError, match="another search"):
        find_peaks(wanted, [known(tmp_path, "K0", 5, log, 0.9), arms[1]], None, lambda *_: None)


def failing(kinds: Sequence[str], good: int) -> list[RequestRecord]:
    rows = [record(float(t)) for t in range(good)]
    return rows + [record(good + t, failure=kind) for t, kind in enumerate(kinds)]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        pytest.param(failing(["closedMidStream"] * 4 + ["connectionRefused"], 20), "4 x closedMidStream", id="it died"),
        pytest.param(failing(["serverError"] * 9, 0), "9 x serverError", id="it answers 500 to all"),
        pytest.param(failing(["badRequest"] * 9, 30), "9 x badRequest", id="it takes no such prompts"),
    ],
)
def test_a_server_that_breaks_is_not_taken_for_one_at_its_limit(
    rows: list[RequestRecord], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TargetError, match=rf"a at 1.00 req/s: (?s:.)*{said}(?s:.)*the same command goes on"):
        tried(rows, tmp_path, monkeypatch)
    assert not list(tmp_path.glob("trials/*/trial.json"))


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(failing(["tooManyRequests"] * 9, 20), id="too many requests"),
        pytest.param(failing(["serverError"] * 9, 20), id="some errors"),
        pytest.param(failing(["unfinished"] * 9, 0), id="nothing in time"),
    ],
)
def test_a_server_at_its_limit_fails_the_trial(
    rows: list[RequestRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not tried(rows, tmp_path, monkeypatch).passed


def test_a_request_that_is_lost_now_and_then_breaks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tried(failing(["closedMidStream"], 59), tmp_path, monkeypatch).passed


def tried(rows: list[RequestRecord], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Trial:
    """A trial of 60 s at one request per second, as if these had been its requests."""

    def run(_: object, targets: list[Target], folder: Path, *__: object, **___: object) -> RunInfo:
        return read_run(run_folder(folder, {targets[0].name: rows}))

    monkeypatch.setattr("loadtests.trials.run", run)
    wanted = plan({"load": {"rate": 1, "variation": 0}}, objectives={"tpotMs": 100})
    return Trials(wanted, Target("a", "http://a"), folder, Options(), Search()).attempt(1.0)


def test_a_search_needs_objectives(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="needs objectives"):
        find_peaks(plan(), [known(tmp_path, "K0", 5, [])], None, lambda *_: None)


def test_how_much_more_is_carried_is_as_sure_as_both_peaks() -> None:
    first, second = Peak("K0", 10.0, 11.0, ()), Peak("auto", 15.0, 16.5, ())
    change = carried(second, first)
    assert change is not None
    assert change.value == pytest.approx(50)
    assert change.low == pytest.approx(100 * (15 / 11 - 1))
    assert change.high == pytest.approx(65)
    assert carried(replace(second, rate=None), first) is None
