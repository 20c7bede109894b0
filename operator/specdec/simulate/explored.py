"""What trials truly cost, whatever the tuner expected of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from specdec.simulate.tuned import Done
from specdec.tuning import Kind

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass
class _Trial:
    """excess: log time per token on trial over what was in force before, times requests, added up by tick."""

    before: Ints
    after: Ints
    excess: float = 0.0


class Explored:
    """The trials of one fleet, each from its decision to the next one.

    A trial that gained counts as free: what is judged is the price of learning, which gains elsewhere must not hide.
    """

    def __init__(self) -> None:
        self._lost, self._requests = 0.0, 0.0
        self._running: _Trial | None = None

    def tick(self, batch: Ints, requests: Floats, cost: Floats) -> None:
        """Count one tick. batch, requests: shape (replicas,). cost: the true time per token, shape (K + 1, B + 1)."""
        self._requests += float(requests.sum())
        if self._running is not None:
            tried, base = self._running.after[batch], self._running.before[batch]
            self._running.excess += float((requests * np.log(cost[tried, batch] / cost[base, batch])).sum())

    def decided(self, done: Done) -> None:
        """A trial begins or ends; one that follows another at once is held against what was in force before both."""
        base = done.before if self._running is None else self._running.before
        self._end()
        if done.decision.kind is Kind.TRIAL:
            self._running = _Trial(base, done.after)

    def lost_percent(self) -> float:
        """Share of all request time."""
        self._end()
        return 100.0 * self._lost / self._requests if self._requests else 0.0

    def _end(self) -> None:
        if self._running is not None:
            self._lost += max(self._running.excess, 0.0)
        self._running = None
