"""What cannot be run is told before the first part, and what has ended is kept when another part fails."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event
from time import sleep
from typing import Any

import pytest

from specdec.cli.main import main
from specdec.simulate import kept, suite, table, workloads
from specdec.simulate.plot import PlotError, draw
from specdec.simulate.rows import Row
from specdec.simulate.suite import Suite, SuiteError
from specdec.simulate.workloads import Workload, WorkloadError
from specdec.tuning import acceptance_profiles, estimated_costs
from specdec.tuning.prior import ESTIMATED_PROFILES, packaged
from tests.unit.simulate.builders import row

PROFILES = acceptance_profiles(packaged(ESTIMATED_PROFILES))
SHORT = replace(workloads.find("mismatch"), seconds=300.0)


def chosen(*more: Workload, policies: Sequence[str] = ("card",), seeds: Sequence[int] = (1,)) -> Suite:
    return Suite((SHORT, *more), tuple(policies), tuple(seeds), estimated_costs(), PROFILES)


def first_rows(costs: Any, rows: int) -> Any:
    return replace(costs, draft_ms=costs.draft_ms[:rows], draft_ms_by_start=costs.draft_ms_by_start[:rows])


NIGHT = replace(SHORT, name="night", load=((0.0, 0.0), (6.0, 0.0), (7.0, 0.5)))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        pytest.param(
            chosen(replace(SHORT, name="other", mix=((0.0, {"nobody": 1.0}),))),
            "profile 'nobody'",
            id="profile",
        ),
        pytest.param(chosen(NIGHT), "night: its load is zero in all of the 0.0833333 h", id="a span without load"),
        pytest.param(
            replace(chosen(policies=["constant-7"]), costs=first_rows(estimated_costs(), 5)),
            "policy constant-7: the cost table ends at K = 5",
            id="a constant beyond the costs",
        ),
        pytest.param(
            replace(chosen(), costs=replace(estimated_costs(), draft_ms=estimated_costs().draft_ms * 2)),
            "14 rows in draft.ms_by_k; keep at most the first 7",
            id="more rows than policies",
        ),
    ],
)
def test_what_cannot_be_run_is_told_before_the_first_part(
    wrong: Suite, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suite, "one", lambda *_: pytest.fail("a part was run"))
    with pytest.raises((SuiteError, WorkloadError)) as told:
        suite.execute(wrong)
    assert message in str(told.value)


def test_parts_that_ended_are_kept_when_another_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed, ran = Event(), set()

    def part(chosen: Suite, workload: Workload, seed: int) -> list[Row]:
        ran.add(seed)
        if seed == 2:
            failed.set()
            raise ArithmeticError("seed 2")
        failed.wait(5)
        sleep(0.1)
        return [row("card", workload.name, seed)]

    monkeypatch.setattr(suite, "one", part)
    monkeypatch.setattr(suite, "ProcessPoolExecutor", lambda jobs, mp_context: ThreadPoolExecutor(jobs))
    many, path = chosen(seeds=range(1, 20)), tmp_path / "out.json.partial"
    with pytest.raises(ArithmeticError, match="seed 2"):
        suite.execute(many, jobs=2, finished=kept.Kept(path))
    assert {found.seed for rows in kept.Kept(path).parts.values() for found in rows} == ran - {2}
    assert 1 in ran
    assert 19 not in ran


def test_a_constant_beyond_the_costs_is_left_out_of_all_and_refused_by_name() -> None:
    assert {"constant-5", "card"} <= set(suite.check_policies(["all"], 5))
    assert not {"constant-6", "constant-7"} & set(suite.check_policies([], 5))
    for named in (["constant-6"], ["all", "constant-6"]):
        with pytest.raises(SuiteError, match="constant-6: the cost table ends at K = 5; name one up to constant-5"):
            suite.check_policies(named, 5)


def test_where_no_request_comes_a_figure_is_null() -> None:
    silent = replace(SHORT, load=((0.0, 1e-12),), relative=False)
    rows = suite.one(chosen(policies=("oracle", "card", "specdec-live")), silent, 1)
    texts = [json.dumps(found.document(), allow_nan=False) for found in rows]
    assert len(texts) == 3
    for found in rows:
        assert (found.tpot_ms, found.regret_oracle_percent, found.slo_percent) == (None, None, None)
    assert "specdec-live" in table.render(rows)


def test_nothing_but_the_oracle_makes_no_picture(tmp_path: Path) -> None:
    with pytest.raises(PlotError, match="name another --policy"):
        draw([row("oracle")], tmp_path / "out.png")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--plot", "{}/out.png", "--policy", "oracle"], "name another --policy too", id="only the oracle"),
        pytest.param(["--plot", "{}"], "is a folder; name a file in it", id="a picture that is a folder"),
        pytest.param(["--json", "{}"], "is a folder; name a file in it", id="results that are a folder"),
        pytest.param(["--plot", "{}/out.gibberish"], "its suffix must say what to write", id="no such kind of picture"),
    ],
)
def test_what_could_not_be_written_is_told_before_the_run(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(suite, "execute", lambda *_: pytest.fail("it ran"))
    assert main(["simulate", *(part.format(tmp_path) for part in arguments)]) == 1
    assert message in capsys.readouterr().err


def test_a_picture_without_matplotlib_is_refused_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(suite, "execute", lambda *_: pytest.fail("it ran"))
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["simulate", "--plot", str(tmp_path / "out.png")]) == 1
    assert "a plot needs matplotlib" in capsys.readouterr().err
