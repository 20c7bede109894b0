"""`specdec calibrate` on an engine as the operator starts it: with which settings of the resource K can be measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from specdec.api.resource import SpeculativeDeployment
from specdec.cli.main import main
from specdec.controllers.accepting import amended
from specdec.controllers.checkpoint import Checkpoint
from specdec.desired.command import speculative_config
from specdec.desired.start import Start
from specdec.engine.calibration import Calibration
from specdec.tuning import cost_table
from specdec.tuning.cost_fit import MeasuredSteps
from tests.support.resource import resource
from tests.support.simulator import SERVED_NAME, SimulatedEngine, simulators


def started(of: SpeculativeDeployment) -> str:
    """The `--speculative-config` of its engines."""
    accepted = amended(Checkpoint(), of, now=0.0).accepted
    assert accepted
    return json.dumps(speculative_config(of.spec, Start.of(of.spec, accepted)))


def calibrate(engine: SimulatedEngine, folder: Path, *more: str, model: str = SERVED_NAME) -> int:
    (folder / "token").write_text(engine.token)
    options = ["--engine", engine.url, "--model", model, "--control-token-file", str(folder / "token"), *more]
    plan = ["--k", "0,7", "--batches", "1,4", "--minutes", "1"]
    return main(["calibrate", *options, *plan, "--out", str(folder / "costs.json")])


def status(folder: Path) -> str:
    return str(json.loads((folder / "costs.json").read_text())["status"])


def test_an_engine_of_a_resource_with_the_default_switching_is_measured(tmp_path: Path) -> None:
    with simulators(speculation=started(resource()), settings={"TIME_SCALE": "0.05"}) as (engine,):
        assert calibrate(engine, tmp_path) == 0
    assert cost_table(json.loads((tmp_path / "costs.json").read_text()))
    assert status(tmp_path).endswith("up to 2048 tokens after it. Nothing is missing.")


def test_an_engine_that_stands_still_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that compiled a kernel on a GPU had ended the calibration."""
    said: list[str] = []
    with simulators(speculation=started(resource()), settings={"TIME_SCALE": "0.05", "FAULTS": "1"}) as (engine,):

        def say(line: str, **_: bool) -> None:
            said.append(line)
            engine.heal()

        monkeypatch.setattr("builtins.print", say)
        engine.fault(hang=True)
        assert calibrate(engine, tmp_path) == 0
    assert "the engine loop did not answer" in said[0]
    assert status(tmp_path).endswith("Nothing is missing.")


def test_what_the_time_did_not_suffice_for_is_told_and_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    measure, cells = Calibration._measure, iter(range(4))

    async def last_one_fails(self: Calibration, k: int, max_batch: int) -> MeasuredSteps | None:
        found = await measure(self, k, max_batch)
        return None if next(cells) == 3 else found

    monkeypatch.setattr(Calibration, "_measure", last_one_fails)
    with simulators(speculation=started(resource()), settings={"TIME_SCALE": "0.05"}) as (engine,):
        assert calibrate(engine, tmp_path) == 0
    assert "prefill: K = 7 at 4 requests. Give it more --minutes" in capsys.readouterr().out
    assert status(tmp_path).endswith("prefill: K = 7 at 4 requests.")


def test_requests_are_no_longer_than_the_engine_takes(tmp_path: Path) -> None:
    short = ["--max-model-len", "1000"]
    with simulators(arguments=short, speculation=started(resource()), settings={"TIME_SCALE": "0.05"}) as (engine,):
        assert calibrate(engine, tmp_path) == 0
    assert "up to 500 tokens" in status(tmp_path)


def test_a_model_that_is_not_served_is_refused_with_what_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with simulators(speculation=started(resource())) as (engine,):
        assert calibrate(engine, tmp_path, model="other") == 1
    assert f"does not serve other, but {SERVED_NAME}" in capsys.readouterr().err


def test_requests_without_a_token_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with simulators(speculation=started(resource())) as (engine,):
        assert calibrate(engine, tmp_path, "--max-tokens", "0") == 1
    assert "--max-tokens takes a whole number of 1 or more" in capsys.readouterr().err


def test_an_engine_that_gets_k_at_its_start_is_refused_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    by_restart = resource(tuning={"switching": "Restart", "mode": "Off"})
    with simulators(speculation=started(by_restart)) as (engine,):
        assert calibrate(engine, tmp_path) == 1
    assert "started without a schedule" in capsys.readouterr().err
