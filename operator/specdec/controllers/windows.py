"""When restarts for tuning are allowed: maintenance windows and a budget per day. Pure; time is an argument."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import CroniterError, croniter

from specdec import tuning
from specdec.api.quantities import parse_seconds
from specdec.api.tuning import Disruption, MaintenanceWindow

DAY_SECONDS: Final = 86_400.0


def disruption(allowed: Disruption, restarts: Iterable[float], now: float) -> tuning.Disruption:
    """What is left today. restarts: seconds since the epoch of those that tuning has caused."""
    spent = sum(now - DAY_SECONDS < at <= now for at in restarts)
    return tuning.Disruption(
        restarts_left_today=max(allowed.max_restarts_per_day - spent, 0),
        window_open=any_open(allowed.windows, datetime.fromtimestamp(now, UTC)),
        any_time=not allowed.windows,
    )


def any_open(windows: Sequence[MaintenanceWindow], now: datetime) -> bool:
    """Whether one of `windows` is open at `now`; without windows every time will do."""
    return not windows or any(is_open(window, now) for window in windows)


def is_open(window: MaintenanceWindow, now: datetime) -> bool:
    """Whether the latest beginning of `window` is no longer ago than its length. One that cannot be read is shut."""
    try:
        local = now.astimezone(ZoneInfo(window.time_zone))
        # A beginning at this very minute counts as past.
        begun: datetime = croniter(window.schedule, local + timedelta(seconds=1)).get_prev(datetime)
    except (CroniterError, ZoneInfoNotFoundError, ValueError):
        return False
    return (local - begun).total_seconds() < parse_seconds(window.duration)
