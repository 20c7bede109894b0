"""The highest rate at which a target keeps its promises: doubling until it fails, then halving the gap.

A trial runs the plan's first phase at one rate. It passes when at least `share` of its requests meet every objective;
failed requests count against it. A trial whose queue only grows is stopped early: more waiting would tell nothing new.
"""

from __future__ import annotations

import math
import shutil
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from loadtests.generator.job import Progress
from loadtests.plan import Load, Plan, PlanError
from loadtests.records import Target, write_json
from loadtests.run import EnoughSeen, Options, run
from loadtests.summary import LATE_SHARE, summarise

SATURATION_SECONDS: Final = 8
SATURATION_GROWTH: Final = 1.5
_LEAST_QUEUE: Final = 16


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


@dataclass(frozen=True, slots=True)
class Trial:
    """saturated: stopped early because the queue kept growing. on_time: whether the generator kept up."""

    rate: float
    good_share: float
    passed: bool
    saturated: bool
    on_time: bool


@dataclass(frozen=True, slots=True)
class Peak:
    """rate: the highest that passed, None when not even the lowest did; at_limit: the highest allowed rate passed."""

    target: str
    rate: float | None
    at_limit: bool
    trials: tuple[Trial, ...]

    @property
    def trustworthy(self) -> bool:
        return all(trial.on_time for trial in self.trials)


def search(attempt: Callable[[float], Trial], settings: Search) -> tuple[float | None, bool, tuple[Trial, ...]]:
    """The search itself. attempt: runs a trial at a rate. Returns the rate, whether it is the limit, and all trials."""
    trials: list[Trial] = []

    def passes(rate: float) -> bool:
        trials.append(attempt(rate))
        return trials[-1].passed

    if not passes(settings.low):
        return None, False, tuple(trials)
    good, bad = settings.low, None
    while bad is None:
        rate = min(good * 2, settings.high)
        if passes(rate):
            good = rate
            if rate >= settings.high:
                return good, True, tuple(trials)
        else:
            bad = rate
    while (bad - good) / good > settings.precision:
        middle = math.sqrt(good * bad)
        if passes(middle):
            good = middle
        else:
            bad = middle
    return good, False, tuple(trials)


class QueueWatch:
    """Ends a trial when requests in flight have grown without pause: by half over eight seconds, and to many."""

    def __init__(self) -> None:
        self._seen: deque[int] = deque(maxlen=SATURATION_SECONDS)
        self.saturated = False
        self.late_share = 0.0

    def __call__(self, _target: str, progress: Progress) -> None:
        """Raises EnoughSeen."""
        self.late_share = progress.late_share
        self._seen.append(progress.in_flight)
        if len(self._seen) < SATURATION_SECONDS:
            return
        rising = all(b >= a for a, b in zip(self._seen, list(self._seen)[1:], strict=False))
        if rising and self._seen[-1] >= max(_LEAST_QUEUE, SATURATION_GROWTH * self._seen[0]):
            self.saturated = True
            raise EnoughSeen


@dataclass(frozen=True, slots=True)
class Trials:
    """Runs the trials of one target, each in a folder of its own below `folder`."""

    plan: Plan
    target: Target
    folder: Path
    options: Options
    settings: Search

    def attempt(self, rate: float) -> Trial:
        """One trial at `rate` requests per second."""
        watch = QueueWatch()
        folder = self.folder / f"{self.target.name}-{rate:.3f}"
        shutil.rmtree(folder, ignore_errors=True)
        plan = trial_plan(self.plan, rate, self.settings.trial_seconds)
        run(plan, [self.target], folder, replace(self.options, baseline=None), on_progress=watch)
        share = summarise(folder).targets[self.target.name].overall.good_share
        good = 0.0 if share is None else share.value
        passed = not watch.saturated and good >= self.settings.share
        return Trial(rate, good, passed, watch.saturated, watch.late_share <= LATE_SHARE)


def find_peak(trials: Trials, on_trial: Callable[[Trial], None]) -> Peak:
    """Search at one target; the result is `peak-TARGET.json` in the folder. Raises PlanError without objectives."""
    if not trials.plan.objectives.model_dump(exclude_none=True):
        raise PlanError("a search for the peak needs objectives in the plan, such as objectives: {tpotMs: 40}")

    def attempt(rate: float) -> Trial:
        trial = trials.attempt(rate)
        on_trial(trial)
        return trial

    rate, at_limit, made = search(attempt, trials.settings)
    peak = Peak(trials.target.name, rate, at_limit, made)
    write_json(trials.folder / f"peak-{peak.target}.json", peak_dict(peak, trials.settings))
    return peak


def peak_dict(peak: Peak, settings: Search) -> dict[str, Any]:
    """The content of `peak-TARGET.json`."""
    return {
        "target": peak.target,
        "peakRate": peak.rate,
        "atLimit": peak.at_limit,
        "share": settings.share,
        "precision": settings.precision,
        "trustworthy": peak.trustworthy,
        "trials": [
            {"rate": t.rate, "goodShare": t.good_share, "passed": t.passed, "saturated": t.saturated}
            for t in peak.trials
        ],
    }


def trial_plan(plan: Plan, rate: float, seconds: float) -> Plan:
    """The plan's first phase as an open loop at `rate`, with the plan's warm-up before it."""
    first = plan.phases[0]
    load = Load(rate=rate, variation=first.load.variation)
    phase = first.model_copy(update={"load": load, "seconds": seconds + plan.warmup_seconds})
    return plan.model_copy(update={"phases": (phase,), "name": f"{plan.name} at {rate:.3g}/s"})
