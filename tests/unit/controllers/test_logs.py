"""What the operator's log shows of an error, and what it must not."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog

from specdec.controllers.logs import Format, configure

SECRET = "the-control-token"


@pytest.fixture(autouse=True)
def _untouched() -> Iterator[None]:
    """Leave logging as it was found."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def fail(token: str) -> None:
    raise ValueError(f"nothing answers to a token of {len(token)} letters")


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_shows_the_place_but_no_local_variable(form: Format, capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", form)
    try:
        fail(SECRET)
    except ValueError as error:
        structlog.get_logger("test").warning("pass failed", exc_info=error)
    shown = capsys.readouterr().err
    assert "nothing answers to a token of 17 letters" in shown
    assert "test_logs.py" in shown
    assert SECRET not in shown
