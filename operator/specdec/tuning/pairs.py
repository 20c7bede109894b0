"""Times without tuning, each held against the times with it before and after, and what such comparisons have shown.

A randomised switchback: the same pods serve all three, the moment is drawn by lot, what drifts evenly cancels out, and
equal batches are compared. So neither a slow node nor traffic that changes with the hour can pass for a gain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import inf
from typing import Final

from specdec.api.schedule import Schedule
from specdec.tuning import work
from specdec.tuning.decisions import Gain
from specdec.tuning.samples import Sample
from specdec.tuning.sequential import Running
from specdec.tuning.work import Counters, Slower, Work

ALPHA: Final = 0.10
SETTLING_SECONDS: Final = 5.0  # after a switch, until all engines were told; a quarter of a short time
LONGEST: Final = 4.0  # times their length that those after the first may take, as when scrapes fail
NOTHING: Final = Running()
REFUTED_FOR_SECONDS: Final = 86_400.0
SLICES: Final = 4  # of the time before
LEAST_PAIRS: Final = 5  # before a verdict: the interval supposes that pairs are scattered normally

ByPod = Mapping[tuple[str, str], Work]
"""Pod and incarnation of its engine -> what it did."""


class Finding(StrEnum):
    """What the pairs say of tuning as a whole."""

    OPEN = "Open"
    CONFIRMED = "Confirmed"
    REFUTED = "Refuted"


@dataclass(frozen=True, slots=True)
class Pair:
    """One under way. back_at: when what tuning chose came back, seconds since the epoch."""

    before: ByPod
    untuned: ByPod = field(default_factory=dict)
    after: ByPod = field(default_factory=dict)
    back_at: float | None = None


@dataclass(frozen=True, slots=True)
class Pairs:
    """All so far. Pods are watched from shortly before an untuned time is due, not all the time.

    untuned_k: the constant K that what tuning chose is held against. seconds: of each time.
    began, last_at: since when pairs are counted, and when the last untuned time began, seconds since the epoch.
    lot: uniform in [0, 1), says when the next one comes. seen: log gain of each pair. refuted_at: when they showed that
    tuning loses. due_at: of the next untuned time, infinite while others than the tuner may change K.
    lately: what was done with tuning in the last `seconds`, in a few slices. pods: the newest page of each.
    """

    untuned_k: int
    seconds: float
    began: float
    last_at: float
    lot: float
    seen: Running = NOTHING
    refuted_at: float = -inf
    due_at: float = inf
    under_way: Pair | None = None
    lately: tuple[tuple[float, ByPod], ...] = ()
    pods: Mapping[str, Counters] = field(default_factory=dict)

    def gain(self) -> Gain | None:
        """Tokens per second of one request over the untuned K's at equal batch, percent, with a 90 % interval that is
        valid at every look; None before a few pairs that differ."""
        width = self.seen.half_width(ALPHA)
        return None if width == inf else Gain.of_logs(self.seen.mean, width)

    @property
    def finding(self) -> Finding:
        """Open until the interval leaves zero."""
        gain = self.gain()
        if self.refuted_at > -inf and not self.seen.count:
            return Finding.REFUTED
        if gain is None or self.seen.count < LEAST_PAIRS:
            return Finding.OPEN
        if gain.upper_percent < 0.0:
            return Finding.REFUTED
        return Finding.CONFIRMED if gain.lower_percent > 0.0 else Finding.OPEN

    def stays_untuned(self, now: float) -> bool:
        """Whether the untuned K stays because tuning was shown to lose."""
        return now < self.refuted_at + REFUTED_FOR_SECONDS

    def before(self) -> ByPod:
        """What was done with tuning just now."""
        return _added(done for _, done in self.lately)


def observed(
    pairs: Pairs, samples: Iterable[Sample], in_force: Schedule, changed_at: float, now: float, *, slower: Slower
) -> Pairs:
    """`pairs` after one round of scrapes; the one under way is complete once the time after it is as long as it was.

    in_force: since `changed_at`. slower: of the untuned K.
    """
    if pairs.under_way is None and now < pairs.due_at - 1.5 * pairs.seconds:
        return replace(pairs, lately=(), pods={}) if pairs.pods else pairs
    settled = changed_at + min(SETTLING_SECONDS, pairs.seconds / 4)
    pages = {sample.pod: work.counters(sample, in_force) for sample in samples if not sample.on_trial}
    known = {pod: page for pod, page in pairs.pods.items() if page.at >= settled}
    done = {(pod, page.incarnation): work.between(known.get(pod), page) for pod, page in pages.items()}
    pairs = replace(pairs, pods={**known, **pages})
    pair = pairs.under_way
    if pair is None:
        return replace(pairs, lately=_sliced(pairs, done, now))
    untuned, since = pair.back_at is None, pairs.last_at if pair.back_at is None else pair.back_at
    if now - since > LONGEST * pairs.seconds:
        return replace(pairs, under_way=None)
    if untuned:
        return replace(pairs, under_way=replace(pair, untuned=_added((pair.untuned, done))))
    pair = replace(pair, after=_added((pair.after, done)))
    if now - since < pairs.seconds:
        return replace(pairs, under_way=pair)
    gained = _log_gain(pair, slower)
    seen = pairs.seen if gained is None else pairs.seen.added(gained)
    return replace(pairs, under_way=None, seen=seen, pods={})


def _sliced(pairs: Pairs, done: ByPod, now: float) -> tuple[tuple[float, ByPod], ...]:
    recent = [(at, did) for at, did in pairs.lately if at > now - pairs.seconds]
    if recent and now - recent[-1][0] < pairs.seconds / SLICES:
        at, did = recent.pop()
        return (*recent, (at, _added((did, done))))
    return (*recent, (now, done))


def _log_gain(pair: Pair, slower: Slower) -> float | None:
    """Of the engines that were seen all the time."""
    parts = [{engine: did for engine, did in part.items() if did} for part in (pair.before, pair.untuned, pair.after)]
    engines = parts[0].keys() & parts[1].keys() & parts[2].keys()
    tuned = work.added(part[engine] for part in (parts[0], parts[2]) for engine in engines)
    return work.log_gain(tuned, work.added(parts[1][engine] for engine in engines), slower)


def _added(parts: Iterable[ByPod]) -> ByPod:
    found: dict[tuple[str, str], Work] = {}
    for part in parts:
        for engine, did in part.items():
            found[engine] = work.added((found.get(engine, {}), did))
    return found
