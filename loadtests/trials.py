"""Trials of a search for the peak: the plan's first phase at one rate, until its outcome is sure.

A trial that cannot pass any more, or whose queue only grows, is stopped early. Arms take turns, trial by trial, so that
a drift of the machine hits all alike; a search that was cut off goes on.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

from loadtests.broken import not_by_load
from loadtests.failures import GO_ON
from loadtests.generator.job import Progress
from loadtests.peak import RESULT, Peak, Search, Trial, peaks_dict, search, trial_of
from loadtests.plan import Load, Plan, PlanError
from loadtests.preflight import TargetError
from loadtests.records import Target, claim, read_json, read_requests, write_json
from loadtests.run import EnoughSeen, Options, run
from loadtests.sequence import open_loop
from loadtests.stats import Estimate
from loadtests.summary import summarise

STATE: Final = "search.json"
TRIAL: Final = "trial.json"
JUDGED_FROM_SECONDS: Final = 12.0
GROWTH: Final = 1.35
_LEAST_QUEUE: Final = 16


class TrialWatch:
    """Ends a trial early once its outcome is sure.

    may_miss: requests that may miss an objective (or fail) before the share cannot be reached any more.
    """

    def __init__(self, may_miss: int) -> None:
        self._may_miss = may_miss
        self._queue: list[int] = []
        self.stopped = ""
        self.late_share = 0.0

    def __call__(self, _target: str, progress: Progress) -> None:
        """Raises EnoughSeen."""
        self.late_share = progress.late_share
        self._queue.append(progress.in_flight)
        if progress.missed > self._may_miss:
            self.stopped = "too many missed a target"
        elif progress.t >= JUDGED_FROM_SECONDS and progress.done >= progress.in_flight and self._grows():
            self.stopped = "the queue only grew"
        if self.stopped:
            raise EnoughSeen

    def _grows(self) -> bool:
        """The last third of the trial beside the one before it: 1 in a steady state, 5/3 for a queue that only grows.

        A trial begins with nobody served, so its first third says nothing; `done >= in_flight` keeps out of that too.
        """
        third = len(self._queue) // 3
        before, after = (sum(part) / third for part in (self._queue[-2 * third : -third], self._queue[-third:]))
        beyond_chance = after - before > 4 * math.sqrt(before / third)
        return after >= _LEAST_QUEUE and after > GROWTH * before and beyond_chance


@dataclass(frozen=True, slots=True)
class Trials:
    """Runs the trials of one arm, each in a folder of its own.

    put_in_force: called before each, raises where that fails. confirm: called after each, raises where it was not so.
    """

    plan: Plan
    target: Target
    folder: Path
    options: Options
    settings: Search
    put_in_force: Callable[[], None] = lambda: None
    confirm: Callable[[], None] = lambda: None

    @property
    def name(self) -> str:
        return self.target.name

    def attempt(self, rate: float) -> Trial:
        """One trial at `rate` requests per second; one that was run before is read, not run again.

        Raises TargetError for one that something broken made fail: kept, it would pass for the server's limit.
        """
        folder = self.folder / "trials" / f"{self.name}-{rate:.3f}"
        if (folder / TRIAL).exists():
            return trial_of(read_json(folder / TRIAL))
        shutil.rmtree(folder, ignore_errors=True)
        trial = self._run(rate, folder)
        write_json(folder / TRIAL, asdict(trial))
        return trial

    def _run(self, rate: float, folder: Path) -> Trial:
        plan = trial_plan(self.plan, rate, self.settings.trial_seconds)
        counted = sum(1 for request in open_loop(plan) if (request.at_seconds or 0.0) >= plan.warmup_seconds)
        may_miss = math.floor((1 - self.settings.share) * counted + 1e-9)
        watch = TrialWatch(may_miss)
        self.put_in_force()
        info = run(plan, [self.target], folder, replace(self.options, baseline=None), on_progress=watch)
        if info.interrupted and not watch.stopped:
            raise KeyboardInterrupt
        self.confirm()
        if wrong := not_by_load(read_requests(folder, self.name), may_miss):
            below = "If this rate is what breaks it, search below it: --high, and another --out"
            raise TargetError(f"{self.name} at {rate:.2f} req/s: {wrong}\n       {GO_ON}. {below}")
        share = summarise(folder).targets[self.name].overall.good_share or Estimate(0.0)
        passed = not watch.stopped and share.value >= self.settings.share
        return Trial(rate, share, passed, watch.stopped, watch.late_share)


OnTrial: TypeAlias = Callable[[str, float, Trial | None], None]
"""Told the arm and the rate of each trial when it begins (None) and how it ended."""


def find_peaks(plan: Plan, arms: Sequence[Trials], baseline: str | None, on_trial: OnTrial) -> list[Peak]:
    """Search all arms in turn; the result is `peak.json` in their folder. Raises PlanError without objectives."""
    if not plan.objectives.model_dump(exclude_none=True):
        raise PlanError("a search for the peak needs objectives in the plan, such as objectives: {tpotMs: 40}")
    folder, settings = arms[0].folder, arms[0].settings
    state = {
        "plan": plan.model_dump(mode="json", by_alias=True, exclude_none=True),
        "targets": [[arm.name, arm.target.url] for arm in arms],
        "search": asdict(settings),
    }
    claim(folder / STATE, state, f"trials/*/{TRIAL}")
    peaks = [done for done in _in_turn(arms, on_trial) if done is not None]
    peaks.sort(key=lambda peak: [arm.name for arm in arms].index(peak.name))
    write_json(folder / RESULT, peaks_dict(peaks, plan, settings, baseline))
    return peaks


def _in_turn(arms: Sequence[Trials], on_trial: OnTrial) -> Iterator[Peak | None]:
    """One trial of each arm after the other; yields the peak of an arm as soon as it is found."""
    searches = [(arm, search(arm.settings), list[Trial]()) for arm in arms]
    while searches:
        for entry in list(searches):
            arm, rates, trials = entry
            try:
                rate = rates.send(trials[-1].passed) if trials else next(rates)
                on_trial(arm.name, rate, None)
                trials.append(arm.attempt(rate))
                on_trial(arm.name, rate, trials[-1])
            except StopIteration as found:
                searches.remove(entry)
                rate, beyond = found.value
                yield Peak(arm.name, rate, beyond, tuple(trials))


def trial_plan(plan: Plan, rate: float, seconds: float) -> Plan:
    """The plan's first phase as an open loop at `rate`, with the plan's warm-up before it."""
    first = plan.phases[0]
    load = Load(rate=rate, variation=first.load.variation)
    phase = first.model_copy(update={"load": load, "seconds": seconds + plan.warmup_seconds})
    return plan.model_copy(update={"phases": (phase,), "name": f"{plan.name} at {rate:.3g}/s"})
