"""Rolling restarts: one replica at a time leaves service, drains, is away, and comes back with another K."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from specdec.simulate.counters import Counters
from specdec.simulate.lanes import Lanes

Ints = NDArray[np.int64]

DRAIN_SECONDS: Final = 120.0


@dataclass
class _Rollout:
    policy: int
    left: list[int]
    table: Ints
    start_k: int
    away_since: float | None = None
    drained: bool = False


class Rollouts:
    """All rolling restarts under way."""

    def __init__(self, lanes: Lanes, restart_seconds: float) -> None:
        self.lanes, self.restart_seconds = lanes, restart_seconds
        self.under_way: list[_Rollout] = []
        self.restarted = np.zeros(lanes.shape, dtype=np.int64)

    def begin(self, policy: int, replicas: range, table: Ints, start_k: int, at: float) -> None:
        """Restart `replicas` of `policy` one after the other."""
        rollout = _Rollout(policy, list(replicas), table, start_k)
        self.under_way.append(rollout)
        self._leave(rollout, at)

    def busy(self, policy: int, replicas: range) -> bool:
        """Whether a rollout of this fleet is under way."""
        return any(r.policy == policy and r.left and r.left[0] in replicas for r in self.under_way)

    def count(self, policy: int, seed: int, seeds: int) -> int:
        """Restarts of one fleet so far."""
        return int(self.restarted.reshape(self.restarted.shape[0], seeds, -1)[policy, seed].sum())

    def step(self, at: float, counters: Counters) -> None:
        """Carry every rollout one advance further."""
        for rollout in list(self.under_way):
            self._carry_on(rollout, at, counters)

    def _carry_on(self, rollout: _Rollout, at: float, counters: Counters) -> None:
        replica, since = rollout.left[0], rollout.away_since or 0.0
        if not rollout.drained:
            # a draining replica serves on; it leaves when it is empty or out of patience
            if self.lanes.present[rollout.policy, replica] > 0 and at - since < DRAIN_SECONDS:
                return
            rollout.drained = True
            self.lanes.clear(rollout.policy, replica)
        if at - since < self.restart_seconds:
            return
        self.lanes.up[rollout.policy, replica] = True
        self.lanes.start[rollout.policy, replica] = rollout.start_k
        self.lanes.tables[rollout.policy, replica] = np.minimum(rollout.table, rollout.start_k)
        self.restarted[rollout.policy, replica] += 1
        counters.reset(counters.lane(rollout.policy, replica))
        rollout.left.pop(0)
        if rollout.left:
            self._leave(rollout, at)
        else:
            self.under_way.remove(rollout)

    def _leave(self, rollout: _Rollout, at: float) -> None:
        self.lanes.up[rollout.policy, rollout.left[0]] = False
        rollout.away_since, rollout.drained = at, False
