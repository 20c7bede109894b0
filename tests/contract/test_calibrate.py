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
from specdec.tuning import cost_table
from tests.support.resource import resource
from tests.support.simulator import SERVED_NAME, SimulatedEngine, simulators


def started(of: SpeculativeDeployment) -> str:
    """The `--speculative-config` of its engines."""
    accepted = amended(Checkpoint(), of, now=0.0).accepted
    assert accepted
    return json.dumps(speculative_config(of.spec, Start.of(of.spec, accepted)))


def calibrate(engine: SimulatedEngine, folder: Path) -> int:
    (folder / "token").write_text(engine.token)
    options = ["--engine", engine.url, "--model", SERVED_NAME, "--control-token-file", str(folder / "token")]
    plan = ["--k", "0,7", "--batches", "1,4", "--minutes", "1"]
    return main(["calibrate", *options, *plan, "--out", str(folder / "costs.json")])


def test_an_engine_of_a_resource_with_the_default_switching_is_measured(tmp_path: Path) -> None:
    with simulators(speculation=started(resource()), settings={"TIME_SCALE": "0.05"}) as (engine,):
        assert calibrate(engine, tmp_path) == 0
    assert cost_table(json.loads((tmp_path / "costs.json").read_text()))


def test_an_engine_that_gets_k_at_its_start_is_refused_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    by_restart = resource(tuning={"switching": "Restart", "mode": "Off"})
    with simulators(speculation=started(by_restart)) as (engine,):
        assert calibrate(engine, tmp_path) == 1
    assert "started without a schedule" in capsys.readouterr().err
