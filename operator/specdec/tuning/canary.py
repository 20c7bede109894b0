"""One replica that runs with another start value, and what it did beside its peers at equal batch, window by window."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import sqrt
from typing import Final

import numpy as np

from specdec.api.schedule import Schedule
from specdec.tuning import work
from specdec.tuning.decisions import TWO_SIDED_90, Gain
from specdec.tuning.samples import Sample
from specdec.tuning.sequential import Running
from specdec.tuning.work import Counters, Work

ALPHA: Final = 0.10
MOST_WINDOWS: Final = 20  # a window that long did not fill: traffic is too thin to be the same on both sides
FORGOTTEN_SECONDS: Final = 3600.0
# A pod may be faster than its peers for no merit of its K: its level wanders by this over that time, and its node
# differs by the rest for good. Suppositions, see docs/tuning.md.
POD_SD: Final = 0.02
POD_SECONDS: Final = 1200.0
NODE_SD: Final = 0.005

NOTHING: Final = Running()


@dataclass(frozen=True, slots=True)
class Window:
    """What both sides did since `began`."""

    began: float
    tried: Work = field(default_factory=dict)
    peers: Work = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Canary:
    """The replica on trial.

    start_k, schedule: what it was started with. expected: what it promised. began: seconds since the epoch.
    first_seen, last_seen: of its samples; None before it served. restarts: of its engine since then.
    seen: log gain of each window in which both sides worked. peers: how many pods it was held against.
    """

    start_k: int
    schedule: Schedule
    expected: Gain
    began: float
    first_seen: float | None = None
    last_seen: float | None = None
    restarts: int = 0
    seen: Running = NOTHING
    peers: int = 0
    window: Window | None = None
    pods: Mapping[str, Counters] = field(default_factory=dict)

    def gain(self) -> Gain | None:
        """Tokens per second of one request over its peers' at equal batch, percent, with an interval that is valid at
        every look; None before two windows were seen."""
        if self.seen.count < 2 or self.first_seen is None or self.last_seen is None:
            return None
        doubt = TWO_SIDED_90 * _pod_sd(self.last_seen - self.first_seen, max(self.peers, 1))
        width = float(np.hypot(self.seen.half_width(ALPHA), doubt))
        return Gain.of_logs(self.seen.mean, width)


def observed(canary: Canary, samples: Iterable[Sample], now: float, window_seconds: float) -> Canary:
    """`canary` after one round of scrapes of all pods; a window closes after `window_seconds` if it holds enough."""
    after, tried = dict[str, Counters](), set[str]()
    for sample in samples:
        after[sample.pod] = work.counters(sample)
        tried |= {sample.pod} if sample.on_trial else set()
    done: dict[bool, Work] = {True: {}, False: {}}
    for pod, counters in after.items():
        done[pod in tried] = work.added((done[pod in tried], work.between(canary.pods.get(pod), counters)))
    window = canary.window or Window(now)
    window = Window(window.began, work.added((window.tried, done[True])), work.added((window.peers, done[False])))
    pods = {pod: counters for pod, counters in canary.pods.items() if now - counters.at < FORGOTTEN_SECONDS}
    canary = replace(_met(canary, after, tried), window=window, pods={**pods, **after})
    if not window.tried or now - window.began > MOST_WINDOWS * window_seconds:
        return replace(canary, window=Window(now))
    gained = work.log_gain(window.tried, window.peers) if now - window.began >= window_seconds else None
    return canary if gained is None else replace(canary, window=Window(now), seen=canary.seen.added(gained))


def _met(canary: Canary, after: Mapping[str, Counters], tried: set[str]) -> Canary:
    """The replica's appearances."""
    if not tried:
        return replace(canary, peers=len(after) or canary.peers)
    at = max(after[pod].at for pod in tried)
    restarted = sum(pod in canary.pods and canary.pods[pod].incarnation != after[pod].incarnation for pod in tried)
    first = at if canary.first_seen is None else canary.first_seen
    peers = len(after) - len(tried)
    return replace(
        canary, first_seen=first, last_seen=at, restarts=canary.restarts + restarted, peers=peers or canary.peers
    )


def _pod_sd(seconds: float, peers: int) -> float:
    """What the level of one pod may differ from the mean of its peers after `seconds`, log units."""
    wandered = POD_SD**2 * min(2.0 * POD_SECONDS / max(seconds, 1.0), 1.0)
    return sqrt((wandered + NODE_SD**2) * (1.0 + 1.0 / peers))
