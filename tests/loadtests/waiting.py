"""Waiting for a condition."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.support.patience import PATIENCE_SECONDS


def wait_for(condition: Callable[[], bool], limit_seconds: float = PATIENCE_SECONDS) -> None:
    end = time.monotonic() + limit_seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
