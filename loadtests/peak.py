"""The highest rate at which an arm keeps its promises: doubling until it fails, then halving the gap.

A trial at a rate (`loadtests.trials`) passes when at least `share` of its requests meet every objective; failed
requests count against it.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from loadtests.plan import Plan, PlanError
from loadtests.records import RunFolderError, read_json
from loadtests.stats import Estimate
from loadtests.summary import LATE_SHARE

FORMAT: Final = "specdec.loadtest.peak/1"
RESULT: Final = "peak.json"


@dataclass(frozen=True, slots=True)
class Search:
    """low, high: requests per second to search between. precision: stop when the gap is within this share of the rate.

    share: of requests that must meet every objective, 0 to 1. trial_seconds: length of a trial after its warm-up.
    """

    low: float = 0.5
    high: float = 512.0
    precision: float = 0.05
    share: float = 0.95
    trial_seconds: float = 60.0

    def __post_init__(self) -> None:
        """Raises PlanError."""
        if not 0 < self.low <= self.high:
            raise PlanError(f"--low {self.low:g} must be above 0 and at most --high {self.high:g}")
        if not 0 < self.share <= 1:
            raise PlanError(f"--share {self.share:g} must be above 0 and at most 1; 0.95 means 95 %")
        if self.precision <= 0 or self.trial_seconds <= 0:
            raise PlanError("--precision and --trial-seconds must be above 0")


@dataclass(frozen=True, slots=True)
class Trial:
    """good_share: 0 to 1, of the requests of the trial as far as it ran. stopped: why it ended early, '' if it did not.

    late_share: of the generator's own actions.
    """

    rate: float
    good_share: Estimate
    passed: bool
    stopped: str = ""
    late_share: float = 0.0

    @property
    def on_time(self) -> bool:
        return self.late_share <= LATE_SHARE


@dataclass(frozen=True, slots=True)
class Peak:
    """rate: the highest that passed, None when not even the lowest did. beyond: the lowest that failed, if any."""

    name: str
    rate: float | None
    beyond: float | None
    trials: tuple[Trial, ...]

    @property
    def trustworthy(self) -> bool:
        return all(trial.on_time for trial in self.trials)


Rates: TypeAlias = Generator[float, bool, tuple[float | None, float | None]]


def search(settings: Search) -> Rates:
    """Yields rates to try and is sent whether each passed; returns the highest that passed and the lowest beyond."""
    good, bad = settings.low, None
    if not (yield good):
        return None, good
    while bad is None:
        if good >= settings.high:
            return good, None
        rate = min(good * 2, settings.high)
        if (yield rate):
            good = rate
        else:
            bad = rate
    while (bad - good) / good > settings.precision:
        middle = math.sqrt(good * bad)
        if (yield middle):
            good = middle
        else:
            bad = middle
    return good, bad


def peaks_dict(peaks: Sequence[Peak], plan: Plan, settings: Search, baseline: str | None) -> dict[str, Any]:
    """The content of `peak.json`."""
    return {
        "format": FORMAT,
        "name": plan.name,
        "phase": plan.phases[0].name,
        "objectives": plan.objectives.model_dump(by_alias=True, exclude_none=True),
        "baseline": baseline or peaks[0].name,
        **asdict(settings),
        "trustworthy": all(peak.trustworthy for peak in peaks),
        "arms": [asdict(peak) for peak in peaks],
    }


def read_peaks(folder: Path) -> tuple[dict[str, Any], list[Peak]]:
    """What `find_peaks` left in the folder. Raises RunFolderError."""
    content = read_json(folder / RESULT)
    if content.get("format") != FORMAT:
        raise RunFolderError(f"{folder / RESULT} has format {content.get('format')!r}, expected {FORMAT!r}")
    peaks = [Peak(**{**arm, "trials": tuple(trial_of(trial) for trial in arm["trials"])}) for arm in content["arms"]]
    return content, peaks


def carried(peak: Peak, baseline: Peak) -> Estimate | None:
    """Percent more traffic than the baseline; the ends come from the rates between which each peak lies.

    None where one of them has no peak. An end is None where a rate at the limit of the search still passed.
    """
    if peak.rate is None or baseline.rate is None:
        return None
    low = None if baseline.beyond is None else 100 * (peak.rate / baseline.beyond - 1)
    high = None if peak.beyond is None else 100 * (peak.beyond / baseline.rate - 1)
    return Estimate(100 * (peak.rate / baseline.rate - 1), low, high)


def trial_of(content: dict[str, Any]) -> Trial:
    """From the JSON of `asdict`."""
    return Trial(**{**content, "good_share": Estimate(**content["good_share"])})
