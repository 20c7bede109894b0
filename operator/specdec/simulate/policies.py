"""Policies that are not ours. Each sees one fleet's counters at every scrape and answers with a table or None."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from specdec.simulate.world import World
from specdec.tuning.prior import Prior

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Seen:
    """One fleet's counters, summed over its replicas, since the run began.

    drafts: shape (K + 1,), by K in force. accepted: shape (K_max,). request_seconds, tokens, step_seconds, steps: sums.
    """

    drafts: Floats
    accepted: Floats
    request_seconds: float
    tokens: float

    def since(self, earlier: Seen) -> Seen:
        return Seen(
            self.drafts - earlier.drafts,
            self.accepted - earlier.accepted,
            self.request_seconds - earlier.request_seconds,
            self.tokens - earlier.tokens,
        )


class Policy(Protocol):
    """One policy for one fleet."""

    def first(self) -> Ints:
        """Shape (B + 1,): K by batch before the first scrape."""
        ...

    def tick(self, seconds: float, seen: Seen) -> Ints | None:
        """A new table, or None to leave the one in force."""
        ...


@dataclass
class StaticSchedule:
    """A schedule made once from the model card and the prior's costs."""

    table: Ints

    def first(self) -> Ints:
        return self.table

    def tick(self, seconds: float, seen: Seen) -> Ints | None:  # noqa: ARG002
        return None


@dataclass
class EmaTiers:
    """K one above the moving average of the accepted tokens, as SGLang's adaptive mode does: acceptance only."""

    max_k: int
    max_batch: int
    weight: float = 0.2
    average: float | None = None
    k: int = 0
    before: Seen | None = None

    def first(self) -> Ints:
        self.k = self.max_k
        return np.full(self.max_batch + 1, self.max_k, dtype=np.int64)

    def tick(self, seconds: float, seen: Seen) -> Ints | None:  # noqa: ARG002
        now, self.before = seen.since(self.before) if self.before else seen, seen
        drafts = now.drafts[1:].sum()
        if drafts < 50:
            return None
        accepted = float(now.accepted.sum() / drafts)
        self.average = accepted if self.average is None else self.average + self.weight * (accepted - self.average)
        target = int(np.clip(round(self.average) + 1, 1, self.max_k))
        if target == self.k or abs(self.average + 1 - self.k) < 0.75:
            return None
        self.k = target
        return np.full(self.max_batch + 1, self.k, dtype=np.int64)


@dataclass
class LinearGoodput:
    """Most tokens per second on a step time that is linear in tokens and batch, profiled beforehand (SmartSpec).

    One acceptance rate for all positions, by moving average.
    """

    seconds: Floats  # (K + 1, B + 1), the straight-line profile
    rate: float = 0.7
    weight: float = 0.1
    before: Seen | None = None

    def first(self) -> Ints:
        return self._table()

    def tick(self, seconds: float, seen: Seen) -> Ints | None:  # noqa: ARG002
        now, self.before = seen.since(self.before) if self.before else seen, seen
        drafts = now.drafts[1:].sum()
        if drafts < 50:
            return None
        first = float(now.accepted[0] / drafts)
        self.rate += self.weight * (min(first, 0.99) - self.rate)
        return self._table()

    def _table(self) -> Ints:
        k = np.arange(self.seconds.shape[0])
        length = (1 - self.rate ** (k + 1)) / (1 - self.rate)
        goodput = length[:, None] / self.seconds
        out: Ints = np.maximum(goodput.argmax(axis=0), 1)
        return out


def linear_profile(world: World) -> Floats:
    """Ordinary least squares of the true step time on tokens and batch, without the graph cliff."""
    k, batch = np.meshgrid(np.arange(1, world.max_k + 1), np.arange(1, world.max_batch + 1, 4), indexing="ij")
    seconds = world.seconds[-1][k, batch]
    limit = world.workload.graph_capture_tokens
    keep = np.ones_like(seconds, dtype=bool) if limit is None else batch * (k + 1) <= limit
    design = np.stack((np.ones(keep.sum()), (batch * (k + 1))[keep], batch[keep]), axis=1)
    fitted, *_ = np.linalg.lstsq(design, seconds[keep], rcond=None)
    ks, bs = np.meshgrid(np.arange(world.max_k + 1), np.arange(world.max_batch + 1), indexing="ij")
    out: Floats = np.maximum(fitted[0] + fitted[1] * bs * (ks + 1) + fitted[2] * bs, 1e-4)
    return out


BANDIT_SECONDS: Final = 60.0


@dataclass
class Bandit:
    """One arm per K, paid in tokens per request second relative to the best; Thompson or upper confidence bound."""

    max_k: int
    max_batch: int
    thompson: bool
    rng: np.random.Generator
    discount: float = 0.998
    reward: Floats = field(init=False)
    plays: Floats = field(init=False)
    arm: int = field(init=False)
    until: float = 0.0
    before: Seen | None = None
    best: float = 1e-9

    def __post_init__(self) -> None:
        self.reward, self.plays, self.arm = np.zeros(self.max_k), np.zeros(self.max_k), self.max_k - 1

    def first(self) -> Ints:
        return self._table()

    def tick(self, seconds: float, seen: Seen) -> Ints | None:
        if seconds < self.until:
            return None
        now, self.before = seen.since(self.before) if self.before else seen, seen
        self.until = seconds + BANDIT_SECONDS
        if now.request_seconds > 0:
            paid = now.tokens / now.request_seconds
            self.best = max(self.best * 0.9999, paid)
            self.reward *= self.discount
            self.plays *= self.discount
            self.reward[self.arm] += paid / self.best
            self.plays[self.arm] += 1
        self.arm = self._choose()
        return self._table()

    def _choose(self) -> int:
        untried = np.flatnonzero(self.plays < 0.5)
        if untried.size:
            return int(untried[-1])
        mean = self.reward / self.plays
        if self.thompson:
            return int((mean + 0.15 * self.rng.standard_normal(self.max_k) / np.sqrt(self.plays)).argmax())
        return int((mean + 0.15 * np.sqrt(2 * np.log(self.plays.sum() + 1) / self.plays)).argmax())

    def _table(self) -> Ints:
        return np.full(self.max_batch + 1, self.arm + 1, dtype=np.int64)


def static_table(world: World, prior: Prior) -> Ints:
    """The best table on the prior alone: the card's acceptance read as cumulative, the borrowed costs."""
    length = np.concatenate(([1.0], 1.0 + np.cumsum(prior.acceptance)))[: world.max_k + 1]
    batch = np.maximum(np.arange(world.max_batch + 1.0), 1.0)
    cost = np.array([prior.costs.step_ms(k, batch) for k in range(1, world.max_k + 1)]) / length[1:, None]
    out: Ints = cost.argmin(axis=0) + 1
    return out
