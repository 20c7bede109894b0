"""`specdec calibrate` on a real engine, and the table that the tuner reads back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from specdec.cli.main import main
from specdec.tuning import cost_table
from tests.engine.servers import Server


@pytest.mark.slow
def test_a_cost_table_is_measured_and_the_schedule_put_back(server: Server, tmp_path: Path) -> None:
    server.set_schedule((1, 8, 5), (9, 16, 2))
    before = server.speculation()["schedule"]["entries"]
    out = tmp_path / "costs.json"
    options = ["--model", "model", "--out", str(out), "--minutes", "0.7", "--k", "0,1,3,7", "--batches", "1,4,12"]
    token = ["--control-token-file", str(server.token_file)]
    assert main(["calibrate", "--engine", server.url, *token, *options]) == 0
    document = json.loads(out.read_text())
    assert document["status"].startswith("MEASURED")
    assert {m["k"] for m in document["measured"]} == {0, 1, 3, 7}
    table = cost_table(document)
    small, large = (float(table.step_ms(7, np.array([batch]))[0]) for batch in (1.0, 12.0))
    assert 0 < small < large
    assert server.speculation()["schedule"]["entries"] == before


def test_a_wrong_token_is_told_in_one_line(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = tmp_path / "token"
    wrong.write_text("wrong")
    out = ["--model", "model", "--out", str(tmp_path / "costs.json")]
    assert main(["calibrate", "--engine", server.url, "--control-token-file", str(wrong), *out]) == 1
    assert "control token" in capsys.readouterr().err
