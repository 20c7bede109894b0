"""Maintenance windows that are certainly open, or shut, while a test runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

Window = dict[str, str]

OPEN: Final[Window] = {"schedule": "* * * * *", "duration": "1h"}


def shut() -> Window:
    """One that opens in half a year."""
    month = (datetime.now(UTC).month + 5) % 12 + 1
    return {"schedule": f"0 0 15 {month} *", "duration": "1h"}
