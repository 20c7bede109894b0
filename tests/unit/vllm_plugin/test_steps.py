"""What is counted of a step, and that counting costs no memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from specdec_vllm.counters import CounterFile, CounterReader
from specdec_vllm.steps import StepRecorder
from tests.support.steps import Drafts, ModelOutput, NewRequest, Outputs, Scheduler, Statistics, Step


class Recorded:
    """A recorder around a scheduler, with a clock that the test sets."""

    def __init__(self, folder: Path, *request_ids: str) -> None:
        self.scheduler, self.now = Scheduler(*request_ids), 0.0
        counters = CounterFile(folder / "counters", 7)
        recorder = StepRecorder(self.scheduler, counters, lambda: self.now)
        self.schedule = recorder.around_schedule(self.scheduler.schedule)
        self.update = recorder.around_update(self.scheduler.update_from_output)
        self.reader = CounterReader(counters.path)

    def decide(self, step: Step, at: float = 0.0) -> Step:
        self.now, self.scheduler.next_step = at, step
        decided: Step = self.schedule()
        assert decided is step
        return decided

    def finish(self, step: Step, *tokens: list[int], drafts: Drafts | None = None, at: float = 0.0) -> None:
        """tokens: what was sampled for each request."""
        self.now, self.scheduler.next_outputs = at, {0: Outputs(), 1: Outputs(Statistics(drafts))}
        self.update(step, ModelOutput(tokens))


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    return Recorded(tmp_path, "a", "b", "c")


def decode(k: int = 3, *requests: str) -> Step:
    return Step(dict.fromkeys(requests or ("a", "b"), k + 1), k)


def test_a_step_counts_into_its_cell(recorded: Recorded) -> None:
    drafts = Drafts(2, [2, 2, 2, 0, 0, 0, 0], [2, 1, 0, 0, 0, 0, 0])
    recorded.finish(recorded.decide(decode(3), at=1.0), [1, 2, 3], [4, 5], drafts=drafts, at=1.25)
    (cell,) = recorded.reader.read().cells
    assert (cell.k, cell.bucket, cell.mixed) == (3, 1, False)
    assert (cell.steps, cell.step_seconds, cell.requests, cell.generated_tokens) == (1, 0.25, 2, 5)
    assert (cell.drafts, cell.verified[:4], cell.accepted[:3]) == (2, (2, 2, 2, 0), (2, 1, 0))


def test_overlapping_steps_share_no_time(recorded: Recorded) -> None:
    first, second = recorded.decide(decode(), at=0.0), recorded.decide(decode(), at=0.1)
    recorded.finish(first, at=1.0)
    recorded.finish(second, at=1.5)
    (cell,) = recorded.reader.read().cells
    assert (cell.steps, cell.step_seconds) == (2, 1.5)


def test_idle_time_is_no_step_time(recorded: Recorded) -> None:
    recorded.finish(recorded.decide(decode(), at=0.0), at=1.0)
    recorded.finish(recorded.decide(decode(), at=10.0), at=10.5)
    assert recorded.reader.read().cells[0].step_seconds == 1.5


def test_a_step_without_requests_is_none(recorded: Recorded) -> None:
    recorded.finish(recorded.decide(Step({}, 7)))
    assert recorded.reader.read().cells == ()


def test_a_prompt_in_pieces_is_mixed_until_its_end(recorded: Recorded) -> None:
    recorded.scheduler.requests["c"].is_prefill_chunk = True
    first = recorded.decide(Step({"a": 4, "c": 100}, 3, [NewRequest("c")]))
    skipped = recorded.decide(decode(3, "a"))
    recorded.scheduler.requests["c"].is_prefill_chunk = False
    # The last piece may be one token long: then only its history tells that it is prompt.
    last = recorded.decide(Step({"a": 4, "c": 1}, 3))
    after = recorded.decide(decode(3, "a", "c"))
    for step in (first, skipped, last, after):
        recorded.finish(step)
    cells = {(c.mixed, c.bucket): c for c in recorded.reader.read().cells}
    assert (cells[True, 1].steps, cells[True, 1].prefill_tokens) == (2, 101)
    assert cells[False, 0].steps == cells[False, 1].steps == 1


def test_a_request_that_was_preempted_is_computed_again(recorded: Recorded) -> None:
    step = decode(3, "a", "b")
    step.scheduled_cached_reqs.resumed_req_ids = {"b"}
    recorded.finish(recorded.decide(step))
    assert recorded.reader.read().cells[0].prefill_tokens == 4


def test_steps_that_never_end_are_forgotten(recorded: Recorded) -> None:
    for _ in range(1000):
        recorded.decide(decode())
    step = recorded.decide(decode())
    recorded.finish(step)
    assert recorded.reader.read().cells[0].steps == 1


def test_counting_keeps_no_memory(recorded: Recorded) -> None:
    step, drafts = decode(), Drafts(1, [1] * 7, [1, *[0] * 6])

    def count(steps: int) -> int:
        for index in range(steps):
            recorded.finish(recorded.decide(step, at=float(index)), [1, 2], drafts=drafts, at=index + 0.5)
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        settled = count(500)
        assert count(5000) - settled < 1024
    finally:
        tracemalloc.stop()


def test_buckets(recorded: Recorded) -> None:
    sizes = (1, 2, 3, 4, 5, 512, 513, 4000)
    for size in sizes:
        recorded.finish(recorded.decide(decode(3, *map(str, range(size)))))
    steps = {cell.bucket: cell.steps for cell in recorded.reader.read().cells}
    assert steps == {0: 1, 1: 1, 2: 2, 3: 1, 15: 1, 16: 2}
