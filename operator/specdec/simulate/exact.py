"""The same fleet, event by event: every engine step, every request, every accepted token drawn. Slow, and the yardstick
for the fast simulation (`difference_percent`).

A request that arrives during a step joins the next one; its prompt is computed in the step that it joins. A request
leaves at the end of the step in which it received its last token; what the step yields beyond is thrown away.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from specdec.simulate import arrivals
from specdec.simulate.arrivals import Arrivals
from specdec.simulate.lanes import Lanes
from specdec.simulate.run import ADVANCE_SECONDS
from specdec.simulate.workloads import Workload
from specdec.simulate.world import World, build, within_advance
from specdec.tuning.prior import CostTable

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Compared:
    """Token-weighted time per output token of one table, milliseconds, from both simulations of one trace."""

    exact_ms: float
    fast_ms: float

    @property
    def difference_percent(self) -> float:
        return 100.0 * (self.fast_ms / self.exact_ms - 1.0)


def compare(
    workload: Workload, costs: CostTable, profiles: dict[str, tuple[float, ...]], table: Ints, seed: int
) -> Compared:
    """Both simulations on the same arrivals, engines started at K_max, `table` in force: shape (B + 1,)."""
    world = build(replace(workload, step_noise=0.0), costs, profiles)
    fleets = list(arrivals.stream(world, seed))
    waited = served = 0.0
    for replica in range(workload.replicas):
        request_seconds, tokens = _replica(world, fleets, replica, table, np.random.default_rng((seed, 8, replica)))
        waited, served = waited + request_seconds, served + tokens
    return Compared(1000.0 * waited / served, _fast(world, fleets, table))


def _fast(world: World, fleets: list[Arrivals], table: Ints) -> float:
    lanes = Lanes(within_advance(world, ADVANCE_SECONDS), 1, 1, ADVANCE_SECONDS)
    lanes.tables[:] = table
    still, start, waited, served = np.ones(lanes.shape[1]), 0.0, 0.0, 0.0
    for fleet in fleets:
        block = arrivals.block(world, [fleet], start, ADVANCE_SECONDS)
        for i in range(block.count.shape[0]):
            done = lanes.advance(block, i, still)
            waited, served = waited + float(done.requests.sum()) * ADVANCE_SECONDS, served + float(done.tokens.sum())
        start += block.count.shape[0] * ADVANCE_SECONDS
    return 1000.0 * waited / served


def _replica(
    world: World, fleets: list[Arrivals], replica: int, table: Ints, rng: np.random.Generator
) -> tuple[float, float]:
    """Request seconds and tokens of one replica until the workload's end."""
    queue = deque(_requests(world, fleets, replica))
    left, kinds = np.zeros(0), np.zeros(0, dtype=np.int64)
    slower, end = world.workload.slower[replica], world.workload.seconds
    now = waited = tokens = 0.0
    while now < end:
        joined: list[tuple[float, int, float, float]] = []
        while queue and queue[0][0] <= now and left.size + len(joined) < world.max_batch:
            joined.append(queue.popleft())
        if joined:
            left = np.concatenate((left, [request[2] for request in joined]))
            kinds = np.concatenate((kinds, np.array([request[1] for request in joined], dtype=np.int64)))
            tokens += sum(request[2] for request in joined)
        if not left.size:
            now = queue[0][0] if queue else end
            continue
        k = int(table[left.size])
        step = world.seconds[world.max_k, k, left.size] * slower + sum(request[3] for request in joined)
        accepted = (rng.random((left.size, 1)) < world.acceptance[kinds, :k]).sum(axis=1)
        waited, now, left = waited + step * left.size, now + step, left - 1.0 - accepted
        stay = left > 0
        left, kinds = left[stay], kinds[stay]
    return waited, tokens


def _requests(world: World, fleets: list[Arrivals], replica: int) -> list[tuple[float, int, float, float]]:
    """Arrival, class, output tokens, prefill seconds, in order of arrival."""
    per_token = world.workload.prefill_ms_per_token / 1000.0
    out = []
    for fleet in fleets:
        for i in np.flatnonzero(fleet.replica == replica):
            length = float(min(np.ceil(fleet.output_tokens[i]), world.longest_tokens))
            out.append((float(fleet.at[i]), int(fleet.kind[i]), length, float(fleet.prompt_tokens[i]) * per_token))
    return out
