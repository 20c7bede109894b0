"""One replica that runs with another start value, and what it did beside its peers at equal batch.

Compared is the time a request waits for one token, request-seconds over tokens, in each batch bucket in which both
sides worked during the same window. A side that is faster has the smaller batch, so only equal batches compare fairly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import expm1, log, sqrt
from typing import Final

import numpy as np

from specdec.api.schedule import Schedule
from specdec.tuning.decisions import TWO_SIDED_90, Gain
from specdec.tuning.samples import BATCH_BUCKET_ENDS, Sample
from specdec.tuning.sequential import Running

ALPHA: Final = 0.10
LEAST_TOKENS: Final = 200.0  # of the smaller side, at batches that both sides had, to make a window
MOST_WINDOWS: Final = 20  # a window that long did not fill: traffic is too thin to be the same on both sides
FORGOTTEN_SECONDS: Final = 3600.0
# A pod may be faster than its peers for no merit of its K: its level wanders by this over that time, and its node
# differs by the rest for good. Suppositions, see docs/tuning.md.
POD_SD: Final = 0.02
POD_SECONDS: Final = 1200.0
NODE_SD: Final = 0.005

NOTHING: Final = Running()

Cells = Mapping[tuple[int, int], tuple[float, float, float, float]]
Work = Mapping[int, tuple[float, float]]
"""Batch bucket -> request-seconds and tokens."""

STOCK: Final = (-1, -1)  # the one cell of an engine without exact counters


@dataclass(frozen=True, slots=True)
class Counters:
    """One pod's counters of pure decode steps: steps, seconds, requests and tokens by (K, bucket).

    With stock counters one cell for all: steps, request-seconds, requests per step added up, tokens.
    """

    incarnation: str
    at: float
    cells: Cells


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
        low, high = self.seen.mean - width, self.seen.mean + width
        return Gain(*(100.0 * expm1(min(x, 2.0)) for x in (self.seen.mean, low, high)))


def observed(canary: Canary, samples: Iterable[Sample], now: float, window_seconds: float) -> Canary:
    """`canary` after one round of scrapes of all pods; a window closes after `window_seconds` if it holds enough."""
    after, tried = dict[str, Counters](), set[str]()
    for sample in samples:
        after[sample.pod] = _counters(sample)
        tried |= {sample.pod} if sample.on_trial else set()
    work: dict[bool, Work] = {True: {}, False: {}}
    for pod, counters in after.items():
        work[pod in tried] = _sum(work[pod in tried], _between(canary.pods.get(pod), counters))
    window = canary.window or Window(now)
    window = Window(window.began, _sum(window.tried, work[True]), _sum(window.peers, work[False]))
    pods = {pod: counters for pod, counters in canary.pods.items() if now - counters.at < FORGOTTEN_SECONDS}
    canary = replace(_met(canary, after, tried), window=window, pods={**pods, **after})
    if not window.tried or now - window.began > MOST_WINDOWS * window_seconds:
        return replace(canary, window=Window(now))
    gained = _contrast(window) if now - window.began >= window_seconds else None
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


def _counters(sample: Sample) -> Counters:
    cells = {
        (c.k, c.bucket): (c.steps, c.step_seconds, c.requests, c.generated_tokens) for c in sample.cells if not c.mixed
    }
    return Counters(sample.incarnation, sample.at, cells or _stock(sample))


def _stock(sample: Sample) -> Cells:
    stock, itl = sample.stock, sample.stock.inter_token_latency
    if itl is None or stock.engine_steps is None or stock.generated_tokens is None:
        return {}
    return {STOCK: (stock.engine_steps, itl.sum_seconds, itl.count, stock.generated_tokens)}


def _between(before: Counters | None, after: Counters) -> Work:
    """What a pod did between two scrapes; nothing where its counters fell, were lost or are no counts."""
    if before is None or before.incarnation != after.incarnation or after.at <= before.at:
        return {}
    work: Work = {}
    for key, now in after.cells.items():
        steps, seconds, requests, tokens = np.subtract(now, before.cells.get(key, (0.0,) * 4)).tolist()
        if not (steps >= 0 and seconds >= 0 and requests >= 0 and tokens >= 0):
            return {}
        if not steps or not requests or not seconds:
            continue
        batch = round(requests / steps)
        bucket = key[1] if key != STOCK else int(np.searchsorted(BATCH_BUCKET_ENDS, batch))
        waited = seconds if key == STOCK else seconds * requests / steps
        work = _sum(work, {bucket: (waited, tokens)})
    return work


def _sum(one: Work, other: Work) -> Work:
    none = (0.0, 0.0)
    return {
        bucket: (
            one.get(bucket, none)[0] + other.get(bucket, none)[0],
            one.get(bucket, none)[1] + other.get(bucket, none)[1],
        )
        for bucket in one.keys() | other.keys()
    }


def _contrast(window: Window) -> float | None:
    """Log gain of the replica on trial over its peers, weighted by the tokens of the smaller side; None when few."""
    total, weight = 0.0, 0.0
    for bucket in window.tried.keys() & window.peers.keys():
        (waited, tokens), (peers_waited, peers_tokens) = window.tried[bucket], window.peers[bucket]
        common = min(tokens, peers_tokens)
        if common > 0:
            total += common * log(peers_waited / peers_tokens * tokens / waited)
            weight += common
    return total / weight if weight >= LEAST_TOKENS else None


def _pod_sd(seconds: float, peers: int) -> float:
    """What the level of one pod may differ from the mean of its peers after `seconds`, log units."""
    wandered = POD_SD**2 * min(2.0 * POD_SECONDS / max(seconds, 1.0), 1.0)
    return sqrt((wandered + NODE_SD**2) * (1.0 + 1.0 / peers))
