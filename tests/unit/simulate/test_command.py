"""`specdec simulate` as its user meets it: files in, rows out, and a word about what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from specdec.cli.main import main
from specdec.simulate import document, perturbed, results, table
from specdec.tuning.prior import ESTIMATED_COSTS, ESTIMATED_PROFILES, packaged

FIELDS = {
    "policy",
    "workload",
    "seed",
    "tpot_ms",
    "regret_oracle_percent",
    "regret_best_constant_percent",
    "slo_percent",
    "restarts_per_replica_week",
    "seconds_to_within_2_percent",
    "seconds_to_disable",
    "windows_worse_percent",
    "gain_interval_coverage_percent",
}


def put(path: Path, content: Any) -> str:
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return str(path)


def unseen_costs() -> dict[str, Any]:
    """Four knots, two batch sizes, at most five tokens a draft, no full-block rows."""
    by_k = {str(k): [0.8 + 0.1 * k, 4.0 + k] for k in range(1, 6)}
    verify = {"tokens": [1, 64, 500, 3000], "ms": [11.0, 25.0, 52.0, 190.0]}
    return {"verify": verify, "draft": {"batch": [1, 300], "ms_by_k": by_k}}


def unseen_workload() -> dict[str, Any]:
    return {
        "name": "my-hour",
        "seconds": 3600,
        "load": [[0, 3.0], [1, 6.0]],
        "relative": False,
        "mix": [[0, {"letters": 1.0}]],
        "balance": [1.0, 1.0],
        "max_num_seqs": 128,
        "graph_capture_tokens": 600,
    }


def test_files_that_were_never_seen_run_without_a_change(tmp_path: Path) -> None:
    out, picture = tmp_path / "out.json", tmp_path / "out.png"
    arguments = ["simulate", "--costs", put(tmp_path / "costs.json", unseen_costs())]
    arguments += ["--profiles", put(tmp_path / "profiles.json", {"profiles": {"letters": [0.7, 0.5, 0.35]}})]
    arguments += ["--workload", put(tmp_path / "hour.json", unseen_workload())]
    arguments += ["--prior", put(tmp_path / "prior.json", packaged(ESTIMATED_COSTS))]
    arguments += ["--seeds", "4,5", "--json", str(out), "--plot", str(picture), "--quiet"]
    assert main(arguments) == 0
    rows = json.loads(out.read_text("utf-8"))["rows"]
    assert set(rows[0]) >= FIELDS
    by_name = {(row["policy"], row["seed"]): row for row in rows}
    assert {"oracle", "constant-5", "best-constant", "card", "specdec-live", "specdec-restart"} <= {
        p for p, _ in by_name
    }
    assert by_name["oracle", 4]["regret_oracle_percent"] == 0
    assert by_name["best-constant", 4]["regret_best_constant_percent"] == 0
    assert by_name["specdec-live", 4]["regret_oracle_percent"] < by_name["constant-1", 4]["regret_oracle_percent"]
    assert by_name["specdec-live", 4]["tpot_ms"] != by_name["specdec-live", 5]["tpot_ms"]
    assert picture.stat().st_size > 10_000


def test_a_mismatched_drafter_is_off_within_two_minutes_and_the_page_says_so(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    arguments = ["--workload", "mismatch", "--policy", "specdec-live", "--policy", "card", "--hours", "0.3"]
    assert main(["simulate", *arguments, "--seeds", "6", "--json", str(out), "--quiet"]) == 0
    _, rows = results.read(out)
    assert [row.policy for row in rows] == ["card", "specdec-live"]
    off = rows[1].seconds_to_disable
    assert off is not None
    assert off <= 120
    document.write(out, tmp_path / "benchmark.md")
    page = (tmp_path / "benchmark.md").read_text("utf-8")
    assert "| not judged |" in page
    assert "| seconds until a mismatched drafter is off | mismatch | at most 120 |" in page
    assert "0 says that this was so from the start, which an untuned constant can reach too" in page.replace("\n", " ")
    assert (tmp_path / "benchmark.png").exists()
    assert not (tmp_path / "out.json.partial").exists()


def test_a_drafter_that_ceases_to_match_is_off_so_many_seconds_after_that(tmp_path: Path) -> None:
    before, after = {"chat": 1, "mismatched-drafter": 0}, {"chat": 0, "mismatched-drafter": 1}
    ceases = {"seconds": 1800, "load": [[0, 0.3]], "mix": [[0, before], [0.25, before], [0.2501, after]]}
    file, out = put(tmp_path / "ceases.json", ceases | {"drift_at_hours": 0.25}), tmp_path / "out.json"
    arguments = ["--workload", file, "--policy", "specdec-live", "--seeds", "6", "--json", str(out), "--quiet"]
    assert main(["simulate", *arguments]) == 0
    _, (row,) = results.read(out)
    assert row.seconds_to_disable is not None
    assert 0 < row.seconds_to_disable < 300


def test_runs_on_bent_tables_share_a_page(tmp_path: Path) -> None:
    out = tmp_path / "tuner-bent-steep.json"
    arguments = ["--workload", "mismatch", "--policy", "specdec-live", "--policy", "card", "--hours", "0.3"]
    assert main(["simulate", *arguments, "--seeds", "6", "--json", str(out), "--quiet"]) == 0
    perturbed.write([out], tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text("utf-8")
    row = next(line for line in page.splitlines() if line.startswith("| bent | steep | mismatch |"))
    _, rows = results.read(out)
    assert f"| {rows[1].regret_oracle_percent:.2f} |" in row
    assert "seeds 6; mismatch 0.3 h" in page
    assert "- profiles `steep`: The first position better" in page


def test_parts_that_are_none_are_refused_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "out.json.partial", "not a part\n")
    assert main(["simulate", "--workload", "mismatch", "--json", str(tmp_path / "out.json"), "--quiet"]) == 1
    assert "out.json.partial holds no finished parts" in capsys.readouterr().err
    assert (tmp_path / "out.json.partial").read_text("utf-8") == "not a part\n"


def test_a_few_seeds_are_shown_by_their_range_and_many_by_an_interval() -> None:
    assert table.figure([1.0, None, 3.0]).text(1) == "2.0 (1.0 to 3.0; 2 of 3 seeds)"
    assert table.figure([2.0, 2.0]).text(1) == "2.0"
    assert table.figure([1.0, 2.0, 3.0, 4.0, 5.0]).text(1) == "3.0 ± 2.0"
    assert table.figure([None]).text() == "-"


def test_the_table_names_every_policy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--workload", "mismatch", "--policy", "thompson", "--hours", "0.1", "--seeds", "1"]) == 0
    shown = capsys.readouterr()
    assert "thompson" in shown.out
    assert "mismatch" in shown.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--policy", "psychic"], "no policy 'psychic'; the policies are oracle", id="policy"),
        pytest.param(["--workload", "nowhere"], "no workload 'nowhere'; name one of steady", id="workload"),
        pytest.param(["--seeds", "1,x"], "--seeds takes whole numbers", id="seeds"),
        pytest.param(["--seeds", "1,1"], "--seeds takes distinct", id="the same seed twice"),
        pytest.param(["--costs", "/nowhere.json"], "/nowhere.json: No such file", id="no such file"),
        pytest.param(["--hours", "0"], "--hours must be above zero", id="no time"),
        pytest.param(["--hours", "long"], "--hours takes a number or NAME=NUMBER", id="no number"),
        pytest.param(["--hours", "nights=3"], "no workload 'nights' is run", id="hours of a workload that is not run"),
        pytest.param(["--json", "/nowhere/out.json"], "its folder does not exist", id="nowhere to write"),
        pytest.param(["--workload", "steady", "--workload", "steady"], "have the same name", id="twice"),
    ],
)
def test_what_is_wrong_is_told_with_its_remedy(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", *arguments]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "content", "message"),
    [
        ("--costs", "{", "is not JSON"),
        ("--costs", "[]", "expected a JSON object"),
        ("--costs", {}, "'verify' is missing"),
        ("--costs", unseen_costs() | {"verify": {"tokens": [1, 1], "ms": [1, 2]}}, "must ascend"),
        ("--costs", unseen_costs() | {"verify": {"tokens": [1, 2], "ms": [1]}}, "they must pair up"),
        ("--costs", unseen_costs() | {"verify": {"tokens": [1, "x"], "ms": [1, 2]}}, "list of numbers"),
        ("--costs", unseen_costs() | {"verify": {"tokens": [1, 2], "ms": [1, -2]}}, "above zero"),
        ("--costs", unseen_costs() | {"verify": {"tokens": "1", "ms": [1]}}, "list of numbers"),
        ("--costs", unseen_costs() | {"draft": {"batch": [1], "ms_by_k": {"2": [1]}}}, "without a gap"),
        ("--costs", unseen_costs() | {"draft": {"batch": [1], "ms_by_k": {"1": [1, 2]}}}, "one per draft.batch"),
        ("--costs", unseen_costs() | {"draft": {"batch": [1], "ms_by_k": {"1": [1]}, "ms_full_block": {}}}, "one row"),
        ("--profiles", {"profiles": {"x": [0.5, 0.6]}}, "must not increase"),
        ("--profiles", {"profiles": {"x": [1.5]}}, "between 0 and 1"),
        ("--profiles", {"profiles": {"x": "y"}}, "list of probabilities"),
        ("--profiles", {"profiles": {"x": ["y"]}}, "list of probabilities"),
        ("--profiles", {"profiles": {"x": [0.5]}}, "names profile 'letters'"),
        ("--workload", "{", "is not JSON"),
        ("--workload", [], "is a JSON object"),
        ("--workload", unseen_workload() | {"colour": 1}, "unknown field 'colour'"),
        ("--workload", {"seconds": 1}, "'load' is missing"),
        ("--workload", unseen_workload() | {"load": [1]}, "hour.json"),
        ("--workload", unseen_workload() | {"load": [[0, 0]]}, "load must be above zero"),
        ("--workload", unseen_workload() | {"slower": [1.0]}, "slower needs one entry"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_by_its_field(
    option: str, content: Any, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = {"--workload": put(tmp_path / "w.json", unseen_workload()), "--hours": "0.01"}
    base |= {"--profiles": put(tmp_path / "p.json", packaged(ESTIMATED_PROFILES))}
    base |= {option: put(tmp_path / "hour.json", content)}
    arguments = [part for pair in base.items() for part in pair]
    assert main(["simulate", *arguments, "--policy", "card", "--seeds", "1", "--quiet"]) == 1
    assert message in capsys.readouterr().err
