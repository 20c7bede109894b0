"""When restarts for tuning are allowed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from specdec.api.tuning import Disruption, MaintenanceWindow
from specdec.controllers.windows import any_open, disruption, is_open


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


NIGHT = MaintenanceWindow(schedule="0 2 * * *", duration="4h")


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        pytest.param("2026-03-01T01:59:59", False, id="a second before"),
        pytest.param("2026-03-01T02:00:00", True, id="at its beginning"),
        pytest.param("2026-03-01T05:59:59", True, id="a second before its end"),
        pytest.param("2026-03-01T06:00:00", False, id="at its end"),
    ],
)
def test_a_window_is_open_from_its_beginning_for_its_length(now: str, expected: bool) -> None:
    assert is_open(NIGHT, at(now)) is expected


def test_a_window_keeps_to_its_time_zone() -> None:
    berlin = MaintenanceWindow(schedule="0 2 * * *", duration="1h", time_zone="Europe/Berlin")
    assert is_open(berlin, at("2026-01-10T01:30:00"))
    assert not is_open(berlin, at("2026-07-10T01:30:00"))
    assert is_open(berlin, at("2026-07-10T00:30:00"))


@pytest.mark.parametrize(
    "window",
    [
        pytest.param(
            MaintenanceWindow.model_construct(schedule="61 2 * * *", duration="4h", time_zone="UTC"),
            id="no such minute",
        ),
        pytest.param(
            MaintenanceWindow.model_construct(schedule="* * * * *", duration="4h", time_zone="Mars/Base"),
            id="no such zone",
        ),
    ],
)
def test_a_window_that_cannot_be_read_is_shut(window: MaintenanceWindow) -> None:
    assert not is_open(window, at("2026-03-01T03:00:00"))


def test_without_windows_every_time_will_do() -> None:
    assert any_open((), at("2026-03-01T12:00:00"))
    assert not any_open((NIGHT,), at("2026-03-01T12:00:00"))


def test_the_budget_counts_the_last_day_only() -> None:
    now = at("2026-03-02T03:00:00").timestamp()
    allowed = Disruption(max_restarts_per_day=2, windows=(NIGHT,))
    left = disruption(allowed, (now - 90_000, now - 80_000), now)
    assert (left.restarts_left_today, left.window_open) == (1, True)
    assert disruption(allowed, (now - 3, now - 2, now - 1), now).restarts_left_today == 0
