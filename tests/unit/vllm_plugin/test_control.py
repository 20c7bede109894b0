"""The engine's side of the live schedule: revisions, compare-and-set, and what an engine says of itself."""

from __future__ import annotations

from typing import Any

import pytest

from specdec_vllm.control import Advice, Capability, Engine, Limits, SpeculationControl
from specdec_vllm.schedule import Refusal, Schedule

ENTRY = {"fromBatch": 1, "toBatch": 4, "numSpeculativeTokens": 3}
LIVE = Capability("LiveSwitching", True, "SingleScheduler")


class Control:
    """A control with 4 sequences and K up to 7; remembers each lookup that came into force."""

    def __init__(self, live: Capability = LIVE) -> None:
        engine = Engine("vllm", "0.33.0", "0.1.0", "dflash", 7, Limits(1, 7, 4, 2048, 64), (live,), (Advice("R", "M"),))
        self.applied: list[list[int]] = []
        schedule = Schedule(False, (7,) * 4)
        self.control = SpeculationControl(
            engine, schedule, self.applied.append, None, now=lambda: 60.0, monotonic=lambda: 5.0
        )

    def put(self, expires: float = 5.0, **request: Any) -> dict[str, Any]:
        return self.control.put(request, expires)

    def status(self, expires: float = 5.0, **request: Any) -> int:
        with pytest.raises(Refusal) as refusal:
            self.put(expires, **request)
        return refusal.value.status


def test_it_describes_the_engine() -> None:
    described = Control().control.describe()
    assert described["limits"]["graphCaptureTokens"] == 64
    assert described["schedule"] == {
        "revision": 0,
        "off": False,
        "entries": [{"fromBatch": 1, "toBatch": 4, "numSpeculativeTokens": 7}],
        "changedAt": "1970-01-01T00:01:00Z",
    }
    assert described["warnings"] == [{"reason": "R", "message": "M"}]


def test_a_new_schedule_comes_into_force_whole() -> None:
    control = Control()
    answer = control.put(revision=5, entries=[ENTRY])
    assert (answer["revision"], answer["entries"]) == (5, [ENTRY])
    assert control.applied == [[0, 3, 3, 3, 3]]


def test_a_change_that_nobody_waits_for_any_more_is_not_made() -> None:
    control = Control()
    assert control.status(expires=4.9, revision=5, entries=[ENTRY]) == 503
    assert (control.applied, control.control.schedule()["revision"]) == ([], 0)


def test_repeating_a_revision_changes_nothing() -> None:
    control = Control()
    first = control.put(revision=5, entries=[ENTRY])
    # Two ways to write one schedule are the same content.
    halves = [ENTRY | {"toBatch": 2}, ENTRY | {"fromBatch": 3}]
    assert control.put(revision=5, ifRevision=0, entries=halves) == first
    assert len(control.applied) == 1


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param({"revision": 5, "off": True}, id="other content"),
        pytest.param({"revision": 4, "entries": [ENTRY]}, id="older"),
        pytest.param({"revision": 6, "ifRevision": 4, "entries": [ENTRY]}, id="another is in force"),
    ],
)
def test_conflicts(request_: dict[str, Any]) -> None:
    control = Control()
    control.put(revision=5, entries=[ENTRY])
    assert control.status(**request_) == 409
    assert len(control.applied) == 1


def test_an_engine_that_cannot_says_why() -> None:
    control = Control(Capability("LiveSwitching", False, "DataParallel", "two schedulers"))
    assert control.status(revision=1, off=True) == 501
    assert control.applied == []
