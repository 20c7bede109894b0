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
Halves = NDArray[np.float16]

HOUR: Final = 3600.0
HOURS: Final = 168
SINCE_MONDAY: Final = 72  # hours, of the epoch, which was a Thursday
KEPT: Final = 0.5  # share of what was known of an hour that stays once it has come again
LEAST_SEEN: Final = 0.5  # of an hour, or it does not count
LONGEST_GAP: Final = 300.0  # between two rounds of scrapes that still count as watching
LARGEST: Final = 65_504.0  # in half precision
LEAST_REQUESTS: Final = 1.0  # in service, in an hour that is waited for
QUIETER: Final = 1.5  # times the load of the quietest hour of the coming day, above which it is worth waiting for
UNKNOWN: Final = np.full((HOURS, 2), np.nan, dtype=np.float16)  # half precision will do, and is small


@dataclass(frozen=True, slots=True)
class Season:
    """hours: shape (HOURS, 2), from Monday 0 h UTC: requests in service in all pods, and their mean batch; not a number
    where that hour was not seen. hour: since the epoch, the one under way; seen: seconds of it; sums: request-seconds
    so far, and those times their batch.
    """

    hours: Halves = field(default_factory=lambda: UNKNOWN)
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
        requests, batch = self.hours.astype(float).T
        bucket = np.searchsorted(BATCH_BUCKET_ENDS, np.rint(batch))
        sums = [np.bincount(bucket, weight, BUCKETS) for weight in (requests * HOUR, requests * HOUR * batch)]
        return np.stack(sums, axis=1)


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
    and the seconds until that begins; None where this hour will do, or not all of the coming day is known.

    Hours with hardly a request do not count: in them nothing would be seen that a restart could be decided by.
    """
    hour = int(now // HOUR)
    ahead = season.hours[(hour + SINCE_MONDAY + np.arange(25)) % HOURS, 0].astype(float)
    if not np.isfinite(ahead).all():
        return None
    least = int(np.where(ahead >= LEAST_REQUESTS, ahead, np.inf).argmin())
    if ahead[0] <= QUIETER * ahead[least]:
        return None
    return float(ahead[0]), float(ahead[least]), (hour + least) * HOUR - now


def _with_hour(season: Season) -> Halves:
    if season.seen < LEAST_SEEN * HOUR:
        return season.hours
    hours, at = season.hours.copy(), (season.hour + SINCE_MONDAY) % HOURS
    requests, batch = season.sums[0] / season.seen, season.sums[1] / max(season.sums[0], 1e-9)
    before, batch_before = hours[at].tolist()
    if not np.isnan(before):
        kept, fresh = KEPT * before, (1.0 - KEPT) * requests
        requests, batch = kept + fresh, (kept * batch_before + fresh * batch) / max(kept + fresh, 1e-9)
    hours[at] = np.minimum((requests, batch), LARGEST)
    return hours
