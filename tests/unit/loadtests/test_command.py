"""`specdec loadtest` without its extra, and with it."""

import importlib.util
from typing import Any

import pytest

from specdec.cli.main import main


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found = importlib.util.find_spec

    def without_locust(name: str, *rest: Any) -> Any:
        return None if name == "locust" else found(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", without_locust)
    assert main(["loadtest", "report", "/nowhere"]) == 1
    assert "pip install '.[loadtest]' in a checkout" in capsys.readouterr().err


def test_a_folder_without_a_run_is_one_line(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["loadtest", "check", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize("command", ["run", "worker", "sweep", "peak", "report", "check", "compare", "selftest"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["loadtest", command, "--help"])
    assert ended.value.code == 0
    assert "usage: specdec loadtest" in capsys.readouterr().out
