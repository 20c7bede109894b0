"""From records to figures, and who may be believed."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from loadtests.groups import is_good
from loadtests.plan import Objectives
from loadtests.records import CounterWindow, RunFolderError, read_requests, write_json, write_rows
from loadtests.summary import summarise, summary_dict, write_summary
from tests.unit.loadtests.builders import punctual, record, run_folder


def test_time_per_token_is_weighted_by_tokens(tmp_path: Path) -> None:
    short = record(1.0, tpot_ms=100.0, output_tokens=2)
    long = record(2.0, tpot_ms=10.0, output_tokens=100)
    found = summarise(run_folder(tmp_path, {"a": [short, long]})).targets["a"].overall
    assert found.tpot_ms is not None
    assert found.tpot_ms.value == pytest.approx((100 * 1 + 10 * 99) / 100)
    assert found.percentiles["tpot"]["p50"] is not None
    assert found.percentiles["tpot"]["p50"].value == pytest.approx(55)


def test_failed_requests_count_against_the_goodput(tmp_path: Path) -> None:
    rows = [record(1.0), record(2.0, failure="timeout"), record(3.0, ttft_ms=900.0)]
    found = summarise(run_folder(tmp_path, {"a": rows}, objectives={"ttftMs": 100})).targets["a"].overall
    assert found.failed == {"timeout": 1}
    assert found.good_share is not None
    assert found.good_share.value == pytest.approx(1 / 3)
    assert found.goodput.value == pytest.approx(1 / 60)


@pytest.mark.parametrize(
    ("limits", "good"),
    [
        ({}, True),
        ({"ttft_ms": 49}, False),
        ({"tpot_ms": 9}, False),
        ({"e2el_ms": 149}, False),
        ({"e2el_ms": 150}, True),
    ],
)
def test_each_objective_must_be_met(limits: dict[str, float], good: bool) -> None:
    assert is_good(record(), Objectives(**limits)) is good


def test_warm_up_is_in_no_figure(tmp_path: Path) -> None:
    rows = [record(1.0, warmup=True, tpot_ms=99.0), record(20.0)]
    found = summarise(run_folder(tmp_path, {"a": rows}, warmupSeconds=10)).targets["a"].overall
    assert found.requests == 1
    assert found.seconds == 50


def test_gains_are_against_the_baseline(tmp_path: Path) -> None:
    slow = [record(t, tpot_ms=20.0 + t % 3) for t in range(60)]
    fast = [record(t, tpot_ms=15.0 + t % 3) for t in range(60)]
    gains = summarise(run_folder(tmp_path, {"auto": fast, "off": slow}, baseline="off")).gains
    assert set(gains) == {"auto"}
    gain = gains["auto"]["overall"]
    assert gain is not None
    assert gain.value == pytest.approx(100 * (1 - 16 / 21))
    assert gain.low is not None
    assert gain.low > 20


def test_counters_of_warm_up_and_drain_are_left_out(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, {"a": [record()]})
    for label, drafts in (("warm-up", 1000.0), ("only", 10.0), ("drain", 1000.0)):
        positions = (drafts * 0.8, drafts * 0.5, 0.0)
        row = CounterWindow("a", label, 0, 1, drafts, 3 * drafts, 1.3 * drafts, positions, 2.3 * drafts, 5.0)
        write_rows(folder / "counters.jsonl", [row])
    found = summarise(folder).targets["a"]
    assert found.accepted_length == pytest.approx(2.3)
    assert found.per_position == pytest.approx((0.8, 0.5))  # beyond K nothing was drafted, so nothing is known


@pytest.mark.parametrize(
    ("late", "trusted"),
    [({}, True), ({"late_beats": 11}, False), ({"late_sends": 2}, False), ({"late_beats": 9}, True)],
)
def test_a_late_generator_is_not_trusted(tmp_path: Path, late: dict[str, int], trusted: bool) -> None:
    folder = run_folder(tmp_path, {"a": [record()]})
    write_json(folder / "generator-a.json", asdict(punctual(**late)))
    assert summarise(folder).trustworthy is trusted


def test_the_summary_is_plain_json(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, {"a": [record(t) for t in range(30)]})
    written = json.loads(write_summary(folder, summarise(folder)).read_text())
    assert written == summary_dict(summarise(folder))
    assert written["targets"]["a"]["overall"]["tokenWeightedTpotMs"]["value"] == 10


def test_a_run_that_was_cut_off_keeps_its_whole_lines(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, {"a": [record(1.0), record(2.0)]})
    with (folder / "requests-a.jsonl").open("a") as file:
        file.write('{"key":"0-3","pha')
    assert len(read_requests(folder, "a")) == 2


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    rows = (record(1.0, chunk_tokens=(1, 3)), record(2.0, failure="tls", detail="x", status=None))
    assert read_requests(run_folder(tmp_path, {"a": list(rows)}), "a") == rows


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [("run.json", "{}", "format"), ("run.json", "[", "not JSON"), ("requests-a.jsonl", "[1]\n", "line 1")],
)
def test_a_broken_folder_is_named(tmp_path: Path, file: str, content: str, said: str) -> None:
    folder = run_folder(tmp_path, {"a": [record()]})
    (folder / file).write_text(content)
    with pytest.raises(RunFolderError, match=said):
        summarise(folder)


def test_a_folder_that_holds_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="not the folder of a load test"):
        summarise(tmp_path)


def test_only_tokens_that_arrive_while_it_counts_are_throughput(tmp_path: Path) -> None:
    before = record(5.0, warmup=True, ttft_ms=0.0, e2el_ms=10_000.0, output_tokens=100)  # half of it after the warm-up
    within = record(20.0, ttft_ms=0.0, e2el_ms=10_000.0, output_tokens=100)
    after = record(55.0, ttft_ms=0.0, e2el_ms=10_000.0, output_tokens=100)  # half of it after the end
    folder = run_folder(tmp_path, {"a": [before, within, after]}, warmupSeconds=10)
    found = summarise(folder).targets["a"]
    assert found.overall.tokens_per_second.value == pytest.approx(200 / 50)
    assert found.overall.output_tokens == 200  # of the two requests that count
    assert found.domains["chat"].tokens_per_second.value == pytest.approx(200 / 50)
