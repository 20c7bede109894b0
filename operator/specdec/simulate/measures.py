"""What a run is judged by, gathered while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from specdec.simulate.lanes import Advanced
from specdec.simulate.world import World

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

WINDOW_SECONDS: Final = 300.0
WORSE: Final = 1.01
WITHIN: Final = 0.02
SETTLED_SECONDS: Final = 300.0
HORIZON_SECONDS: Final = 600.0  # over which a predicted gain is held against the truth


@dataclass(frozen=True, slots=True)
class Mix:
    """The traffic's mix at one time. shares: shape (classes,). length: shape (K + 1,), its mean tokens per step."""

    shares: Floats
    length: Floats

    @classmethod
    def at(cls, world: World, seconds: float) -> Self:
        return cls(world.class_shares(seconds), world.mean_length(seconds))


@dataclass(frozen=True, slots=True)
class Line:
    """What has to wait, shape (policies, seeds x replicas). waiting: requests. backlog: seconds of prompts."""

    waiting: Floats
    backlog: Floats


class Measures:
    """Sums, added up over the replicas of a fleet only when they are asked for.

    request_seconds, tokens: shape (windows, policies, seeds x replicas). within, delivered: shape (policies, seeds x
    replicas), tokens inside the targets and all.
    excess, weight: shape (ticks, policies, seeds): log time per token above the oracle at the same batch, and requests.
    """

    def __init__(self, world: World, policies: int, seeds: int, tick_seconds: float) -> None:
        seconds = world.workload.seconds
        self.world, self.seeds, self.tick_seconds = world, seeds, tick_seconds
        windows, ticks = int(np.ceil(seconds / WINDOW_SECONDS)), int(np.ceil(seconds / tick_seconds)) + 1
        lanes = (policies, seeds * world.workload.replicas)
        self.request_seconds, self.tokens = np.zeros((windows, *lanes)), np.zeros((windows, *lanes))
        self.within, self.delivered = np.zeros(lanes), np.zeros(lanes)
        self.excess = np.zeros((ticks, policies, seeds), dtype=np.float32)
        self.weight = np.zeros((ticks, policies, seeds), dtype=np.float32)

    def add(self, done: Advanced, line: Line, at: float, seconds: float, mix: Mix) -> None:
        """Count one advance."""
        window = min(int(at / WINDOW_SECONDS), self.tokens.shape[0] - 1)
        each, workload = mix.length[done.k], self.world.workload
        self.request_seconds[window] += done.requests * seconds
        self.tokens[window] += done.tokens - done.cut * each
        delivered = done.requests * done.steps * each
        step_ms = 1000.0 * done.step_seconds * (seconds / np.maximum(seconds - done.prefill, 1e-9))
        fast = step_ms[..., None] <= workload.slo_tpot_ms * self.world.length[done.k]
        late = line.backlog > workload.slo_ttft_seconds
        if line.waiting.any():
            late |= line.waiting / np.maximum(done.arrived / seconds, 1e-9) > workload.slo_ttft_seconds
        self.within += delivered * (fast @ mix.shares) * ~late
        self.delivered += delivered

    def end(self, steps_to_come: Floats, k: Ints, mix: Mix) -> None:
        """Take out the tokens that no request in service has received by the end. steps_to_come: see Lanes."""
        self.tokens[-1] -= steps_to_come * mix.length[k]

    def tick(self, done: Advanced, at: float, cost: Floats, best: Ints) -> None:
        """How far above the oracle's time per token each policy runs, at its own batch. cost: (K + 1, B + 1)."""
        row = min(int(at / self.tick_seconds), self.excess.shape[0] - 1)
        above = np.log(cost[done.k, done.batch] / cost[best[done.batch], done.batch])
        weight = self._fleets(done.requests)
        self.excess[row] = self._fleets(above * done.requests) / np.maximum(weight, 1e-9)
        self.weight[row] = weight

    def _fleets(self, lanes: Floats) -> Floats:
        out: Floats = lanes.reshape(*lanes.shape[:-1], self.seeds, -1).sum(axis=-1)
        return out

    def tpot_ms(self) -> Floats:
        """Shape (policies, seeds): request time over tokens, the token-weighted mean time per output token."""
        out: Floats = 1000.0 * self._fleets(self.request_seconds.sum(axis=0)) / self._fleets(self.tokens.sum(axis=0))
        return out

    def slo_percent(self) -> Floats:
        """Shape (policies, seeds): share of tokens delivered inside the workload's latency targets."""
        out: Floats = 100.0 * self._fleets(self.within) / np.maximum(self._fleets(self.delivered), 1e-9)
        return out

    def windows_worse_percent(self, policy: int, untuned: int) -> Floats:
        """Shape (seeds,): share of five-minute windows more than 1 % worse than the untuned twin."""
        ours, theirs = (self._fleets(self.request_seconds[:, p]) for p in (policy, untuned))
        busy = self._fleets(self.tokens[:, untuned]) > 0
        worse = busy & (ours > WORSE * theirs)
        out: Floats = 100.0 * worse.sum(axis=0) / np.maximum(busy.sum(axis=0), 1)
        return out

    def seconds_to_within(self, policy: int, seed: int, since: float) -> float | None:
        """Seconds after `since` until the next five minutes run within 2 % of the oracle; None when they never do."""
        span = max(round(SETTLED_SECONDS / self.tick_seconds), 1)
        first = int(since / self.tick_seconds)
        if first + span > self.weight.shape[0]:
            return None
        weight = self.weight[first:, policy, seed].astype(float)
        total = np.convolve(self.excess[first:, policy, seed] * weight, np.ones(span), "valid")
        share = np.convolve(weight, np.ones(span), "valid")
        settled = np.flatnonzero((total <= WITHIN * share) & (share > 0))
        return float(settled[0]) * self.tick_seconds if settled.size else None


def true_gain_percent(before: Ints, after: Ints, costs: tuple[Floats, Floats], requests_at: Floats) -> float:
    """Gain of `after` over `before` at the batches seen. requests_at: shape (B + 1,), request time by batch.

    costs: the true time per token before and after, which differ where the engines start with another K.
    """
    batch = np.flatnonzero(requests_at > 0)
    if not batch.size:
        return 0.0
    weight = requests_at[batch] / requests_at[batch].sum()
    ratio = costs[0][before[batch], batch] / costs[1][after[batch], batch]
    return 100.0 * float(np.expm1((weight * np.log(ratio)).sum()))
