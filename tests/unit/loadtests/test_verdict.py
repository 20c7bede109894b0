"""Conditions for CI and comparisons of runs."""

from pathlib import Path

import pytest

from loadtests.summary import Summary, summarise
from loadtests.verdict import ConditionError, compare, judge, parse_condition
from tests.unit.loadtests.builders import record, run_folder


def run(folder: Path, tpot: float, failures: int = 0) -> Summary:
    rows = [record(t, tpot_ms=tpot + (t % 5) / 10) for t in range(60)]
    rows += [record(60 + n, failure="timeout") for n in range(failures)]
    return summarise(run_folder(folder, {"a": rows}))


@pytest.mark.parametrize(
    ("text", "fails"),
    [
        ("p95 tpot > 10ms", True),
        ("p95 tpot > 20ms", False),
        ("tpot>0.01s", True),
        ("p95 ttft > 1s", False),
        ("failed > 1%", True),
        ("failed >= 50 %", False),
        ("a: failed > 5", True),
        ("goodput < 2", True),
        ("throughput < 5", False),
        ("good <= 92%", False),
    ],
)
def test_conditions_on_one_run(tmp_path: Path, text: str, fails: bool) -> None:
    (finding,) = judge([parse_condition(text)], run(tmp_path, 10.0, failures=4))
    assert finding.failed is fails


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tpot", "cannot read"),
        ("p42 tpot > 1ms", "Metrics: tpot"),
        ("speed > 1", "Metrics: tpot"),
        ("failed > 3ms", "measured in %"),
        ("tpot > 3%", "measured in ms"),
        ("goodput < 5 of other", "percentage"),
    ],
)
def test_a_condition_that_cannot_be_is_explained(text: str, said: str) -> None:
    with pytest.raises(ConditionError, match=said):
        parse_condition(text)


def test_a_condition_against_another_run_holds_only_when_chance_cannot_explain_it(tmp_path: Path) -> None:
    condition = [parse_condition("tpot > 105% of other")]
    old = run(tmp_path / "old", 10.0)
    (worse,) = judge(condition, run(tmp_path / "worse", 12.0), old)
    assert worse.failed
    (same,) = judge(condition, run(tmp_path / "same", 10.1), old)
    assert not same.failed


def test_a_noisy_difference_fails_nothing_and_says_so(tmp_path: Path) -> None:
    noisy = [record(t, tpot_ms=10.0 if (t // 5) % 2 else 14.0) for t in range(60)]
    new = summarise(run_folder(tmp_path / "new", {"a": noisy}))
    (finding,) = judge([parse_condition("tpot > 110% of other")], new, run(tmp_path / "old", 10.0))
    assert not finding.failed
    assert "chance could explain" in finding.statement


def test_targets_of_one_run_are_compared(tmp_path: Path) -> None:
    rows = {"auto": [record(t, tpot_ms=8.0) for t in range(60)], "off": [record(t) for t in range(60)]}
    (finding,) = judge([parse_condition("tpot >= 100% of off")], summarise(run_folder(tmp_path, rows)))
    assert finding.target == "auto"
    assert not finding.failed


@pytest.mark.parametrize("text", ["x: tpot > 1ms", "tpot > 100% of other", "tpot > 100% of y"])
def test_a_condition_on_what_is_not_there_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConditionError):
        judge([parse_condition(text)], run(tmp_path, 10.0))


def test_a_run_without_answers_passes_no_condition(tmp_path: Path) -> None:
    dead = summarise(run_folder(tmp_path, {"a": [record(1.0, failure="connectionRefused")]}))
    (finding,) = judge([parse_condition("p95 tpot > 40ms")], dead)
    assert finding.failed


def test_a_comparison_says_what_is_significant(tmp_path: Path) -> None:
    rows = compare(run(tmp_path / "new", 12.0), run(tmp_path / "old", 10.0))
    said = {row.metric.name: row.statement for row in rows}
    assert said["tpot"].startswith("significantly worse")
    assert said["p50 ttft"].startswith("no significant difference")


@pytest.mark.parametrize("text", ["throughput < 90% of other", "p95 itl > 110% of other", "goodput < 90% of other"])
def test_every_metric_can_fail_a_comparison(tmp_path: Path, text: str) -> None:
    old = [record(t / 2, tpot_ms=10.0 + t % 3) for t in range(120)]
    slow = {"tpot_ms": 20.0, "output_tokens": 6, "itl_ms": (40.0,) * 5}
    new = [record(t / 2, **slow) if t % 2 else record(t / 2, failure="timeout") for t in range(120)]
    folders = [run_folder(tmp_path / name, {"a": rows}) for name, rows in (("new", new), ("old", old))]
    (finding,) = judge([parse_condition(text)], *(summarise(folder) for folder in folders))
    assert finding.failed, finding.statement


def test_what_was_zero_before_may_not_grow_and_may_stay(tmp_path: Path) -> None:
    condition = [parse_condition("failed > 100% of other")]
    old = run(tmp_path / "old", 10.0)
    (same,) = judge(condition, run(tmp_path / "same", 10.0), old)
    assert not same.failed
    failing = [record(t, failure="timeout") if t % 2 else record(t) for t in range(60)]
    (worse,) = judge(condition, summarise(run_folder(tmp_path / "new", {"a": failing})), old)
    assert worse.failed
