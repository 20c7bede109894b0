"""Blocks, order, merging: what makes arms comparable."""

from dataclasses import replace
from pathlib import Path

import pytest

from loadtests import live
from loadtests.arms import Arm, parse_arms
from loadtests.keepsake import Keepsake
from loadtests.live import LiveEngines
from loadtests.preflight import TargetError
from loadtests.records import RunFolderError, RunInfo, Target, claim, read_requests, read_run, write_json
from loadtests.run import Options
from loadtests.summary import summarise
from loadtests.sweep import DONE, KEEPSAKE, STATE, Sweep, merge, run_sweep
from tests.unit.loadtests.builders import plan, record, run_folder
from tests.unit.loadtests.engines import Engines


def sweep(folder: Path, blocks: int = 6) -> Sweep:
    made = plan({"name": "only", "seconds": 60}, warmupSeconds=10)
    return Sweep(made, Target("t", "http://t"), parse_arms("0,3,7"), blocks, "K0", folder)


def fill(made: Sweep) -> None:
    """Arm K takes 20 - K ms a token, and everything gets slower from block to block."""
    for cell in made.cells():
        tpot = (20.0 - (cell.arm.k or 0)) * (1 + cell.block)
        rows = [record(t, warmup=t < 10, tpot_ms=tpot) for t in range(60)]
        run_folder(made.folder_of(cell), {cell.arm.name: rows}, warmupSeconds=10)
        write_json(made.folder_of(cell) / DONE, {})


def test_every_block_holds_every_arm_in_an_order_of_its_own(tmp_path: Path) -> None:
    cells = list(sweep(tmp_path).cells())
    orders = {tuple(c.arm.name for c in cells if c.block == block) for block in range(6)}
    assert all(sorted(order) == ["K0", "K3", "K7"] for order in orders)
    assert len(orders) > 1


def test_an_interrupted_sweep_knows_what_is_missing(tmp_path: Path) -> None:
    made = sweep(tmp_path)
    first = next(made.cells())
    made.folder_of(first).mkdir(parents=True)
    assert len(made.missing()) == 18
    write_json(made.folder_of(first) / DONE, {})
    assert first not in made.missing()


def test_a_sweep_that_was_killed_after_its_last_cell_still_puts_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def switch() -> LiveEngines:
        return LiveEngines(tuple(engines.ks), None, keepsake=Keepsake(tmp_path / KEEPSAKE))

    made, engines = sweep(tmp_path), Engines("http://a")
    monkeypatch.setattr(live, "LiveClient", lambda: engines)
    write_json(tmp_path / STATE, made.state())
    fill(made)
    switch().__enter__().apply(Arm("K3", k=3))
    run_sweep(made, switch(), Options())
    assert engines.ks == {"http://a": 7}
    assert not made.unrestored()


def test_blocks_of_all_arms_share_a_time_axis_so_drift_cancels(tmp_path: Path) -> None:
    made = sweep(tmp_path)
    fill(made)
    merge(made)
    found = summarise(tmp_path)
    assert found.info.baseline == "K0"
    assert found.targets["K3"].overall.requests == 6 * 50
    assert found.targets["K3"].overall.seconds == 6 * 50
    gain = found.gains["K3"]["overall"]
    assert gain is not None
    assert gain.value == pytest.approx(15)
    assert gain.low == pytest.approx(15)  # although single blocks differ by a factor of six


def test_a_cell_in_which_every_request_failed_ends_the_sweep_and_is_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(_: object, targets: list[Target], folder: Path, *__: object, **___: object) -> RunInfo:
        rows = [record(t, failure="serverError", detail="HTTP 500: engine dead") for t in range(5)]
        return read_run(run_folder(folder, {targets[0].name: rows}))

    monkeypatch.setattr("loadtests.sweep.run", run)
    made = sweep(tmp_path)
    first = next(made.cells())
    with pytest.raises(
        TargetError, match=rf"block 1, {first.arm.name}: every request failed:\n +5 x serverError"
    ) as raised:
        run_sweep(made, LiveEngines((), None), Options())
    assert "engine dead" in str(raised.value)
    assert len(made.missing()) == 18


def test_merging_again_changes_nothing(tmp_path: Path) -> None:
    made = sweep(tmp_path)
    fill(made)
    merge(made)
    once = read_requests(tmp_path, "K7")
    merge(made)
    assert read_requests(tmp_path, "K7") == once
    assert len({r.key for r in once}) == len(once)


def test_another_sweep_is_not_continued_once_a_cell_is_done(tmp_path: Path) -> None:
    def claimed(made: Sweep) -> None:
        claim(tmp_path / STATE, made.state(), f"cells/*/{DONE}")

    claimed(replace(sweep(tmp_path), blocks=9))  # a mistake that was noticed before anything ran
    claimed(sweep(tmp_path))
    fill(sweep(tmp_path))
    claimed(sweep(tmp_path))
    with pytest.raises(RunFolderError, match="another blocks"):
        claimed(replace(sweep(tmp_path), blocks=7))


def test_what_arrives_after_a_block_is_no_throughput_of_the_next(tmp_path: Path) -> None:
    made = sweep(tmp_path, blocks=2)
    for cell in made.cells():
        rows = [record(55.0, ttft_ms=0.0, e2el_ms=10_000.0, output_tokens=100)]
        run_folder(made.folder_of(cell), {cell.arm.name: rows}, warmupSeconds=10)
    merge(made)
    assert summarise(tmp_path).targets["K3"].overall.tokens_per_second.value == pytest.approx(2 * 50 / 100)
