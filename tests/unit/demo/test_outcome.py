"""When the demo may call itself good."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loadtests.summary import summarise
from tests.demo.engines import ENGINES
from tests.demo.outcome import Changes, Kills, Outcome
from tests.unit.loadtests.builders import record, run_folder


def outcome(folder: Path, **fields: Any) -> Outcome:
    """A good one, but for `fields` and the requests that `failed`."""
    failed = [record(at=float(n), failure="timeout") for n in range(fields.pop("failed", 0))]
    run_folder(folder, {"tuned": [record(at=10.0)], "untuned": [record(at=10.0), *failed]})
    known: dict[str, Any] = {
        "engine": ENGINES["simulator"],
        "summary": summarise(folder),
        "expected": (),
        "margin": 5.0,
        "expected_margin": 6.0,
        "changes": {"rush": Changes(2, 1), "calm": Changes(0, 0)},
        "kills": Kills(10, 10, 6),
        "disturbed": (),
        "report": folder / "report.html",
    }
    return Outcome(**(known | fields))


def test_a_good_outcome_has_no_shortcoming(tmp_path: Path) -> None:
    assert outcome(tmp_path).shortcomings == ()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        pytest.param({"margin": -0.1}, "not faster", id="slower"),
        pytest.param({"margin": 2.9}, "less than 3.0 %", id="hardly faster, operators killed"),
        pytest.param({"margin": 3.9, "kills": Kills(0, 0, 0)}, "less than 4.0 %", id="hardly faster"),
        pytest.param({"margin": -0.1, "expected_margin": None}, "not faster", id="slower, nothing promised"),
        pytest.param({"changes": {"rush": Changes(0, 0)}}, "never changed", id="nothing moved"),
        pytest.param({"changes": {"rush": Changes(4, 2)}}, "turned back more than once during rush", id="flapping"),
        pytest.param({"failed": 1}, "1 requests failed", id="a failed request"),
        pytest.param({"disturbed": ("engine-0",)}, "engine-0", id="an engine restarted"),
        pytest.param({"kills": Kills(10, 9, 6)}, "9 of 10", id="too few kills"),
    ],
)
def test_each_shortcoming_is_told(tmp_path: Path, changed: dict[str, Any], told: str) -> None:
    (sentence,) = outcome(tmp_path, **changed).shortcomings
    assert told in sentence
