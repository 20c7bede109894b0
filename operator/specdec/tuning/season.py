"""What load each hour of the week usually brings.

Restarts are decided for days ahead, so a week stands for the next: it weighs what a start value gains, and tells when a
rollout disturbs least. Live schedules need none of it, since they answer to each batch size as it comes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from specdec.tuning.samples import BATCH_BUCKET_ENDS
from specdec.tuning.window import BUCKETS

Floats = NDArray[np.float64]

HOUR: Final = 3600.0
HOURS: Final = 168
SINCE_MONDAY: Final = 72  # hours, of the epoch, which was a Thursday
KEPT: Final = 0.5  # share of what was known of an hour that stays once it has come again
LEAST_SEEN: Final = 0.5  # of an hour, or it does not count
LONGEST_GAP: Final = 300.0  # between two rounds of scrapes that still count as watching
QUIETER: Final = 1.5  # times the load of the quietest hour of the coming day, above which it is worth waiting for


@dataclass(frozen=True, slots=True)
class Season:
    """hours: shape (HOURS, 2), from Monday 0 h UTC: request-seconds of all pods, and their mean batch times
    request-seconds; not a number where that hour was not seen. hour: since the epoch, the one under way; seen: seconds
    of it; sums: shape (2,), as a row of `hours`, so far.
    """

    hours: Floats = field(default_factory=lambda: np.full((HOURS, 2), np.nan))
    hour: int = 0
    seen: float = 0.0
    sums: tuple[float, float] = (0.0, 0.0)

    @property
    def known(self) -> int:
        """How many hours were seen."""
        return int(np.isfinite(self.hours[:, 0]).sum())

    def load(self) -> Floats | None:
        """Shape (BUCKETS, 2), see `State.load`: of the usual week; None until each hour of it was seen."""
        if self.known < HOURS:
            return None
        busy = self.hours[self.hours[:, 0] > 0]
        bucket = np.searchsorted(BATCH_BUCKET_ENDS, np.rint(busy[:, 1] / busy[:, 0]))
        sums = [np.bincount(bucket, column, BUCKETS) for column in busy.T]
        return np.stack(sums, axis=1) if len(busy) else np.zeros((BUCKETS, 2))


def watched(season: Season, now: float, elapsed: float, request_seconds: float, batch_seconds: float) -> Season:
    """`season` after a round of scrapes, `elapsed` seconds after the one before."""
    hour = int(now // HOUR)
    if hour != season.hour:
        season = Season(_with_hour(season), hour)
    if not 0.0 < elapsed <= LONGEST_GAP:
        return season
    sums = season.sums[0] + request_seconds, season.sums[1] + batch_seconds
    return replace(season, seen=season.seen + elapsed, sums=sums)


def quieter_hour(season: Season, now: float) -> tuple[float, float, float] | None:
    """Requests in service usually in this hour and in the quietest of the coming day, where it is worth waiting for,
    and the seconds until that begins; None where this hour will do, or not all of the coming day is known."""
    hour = int(now // HOUR)
    ahead = season.hours[(hour + SINCE_MONDAY + np.arange(25)) % HOURS, 0] / HOUR
    if not np.isfinite(ahead).all():
        return None
    least = int(ahead.argmin())
    if ahead[0] <= QUIETER * ahead[least]:
        return None
    return float(ahead[0]), float(ahead[least]), (hour + least) * HOUR - now


def _with_hour(season: Season) -> Floats:
    if season.seen < LEAST_SEEN * HOUR:
        return season.hours
    hours, at = season.hours.copy(), (season.hour + SINCE_MONDAY) % HOURS
    fresh = np.array(season.sums) * HOUR / season.seen
    hours[at] = np.where(np.isfinite(hours[at]), KEPT * hours[at] + (1.0 - KEPT) * fresh, fresh)
    return hours
