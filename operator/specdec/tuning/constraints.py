"""Latency targets as limits on the schedule. The K of least time per token meets a TPOT target wherever any K does, so
only a bound on single steps (ITL) takes K away; what no K can meet is told with the nearest miss.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from specdec.tuning import candidates
from specdec.tuning.candidates import Ints, Outlook
from specdec.tuning.histograms import mean, quantile
from specdec.tuning.limits import Constraint, LatencyMetric, Limits
from specdec.tuning.state import State
from specdec.tuning.window import LATENCIES

Bools = NDArray[np.bool_]

LENIENCE: Final = 0.05
SPREAD_BOUNDS: Final = (1.0, 4.0)  # of a percentile over the mean
FAMILIES: Final = dict(
    zip(
        LATENCIES,
        (LatencyMetric.TIME_PER_OUTPUT_TOKEN, LatencyMetric.TIME_TO_FIRST_TOKEN, LatencyMetric.INTER_TOKEN_LATENCY),
        strict=True,
    )
)


def within_targets(inside: Bools, seen: Outlook, limits: Limits, state: State, in_force: Ints) -> Bools:
    """`inside`, less every K whose steps would be longer than an ITL target allows; the smallest K always stays.

    The K in force may be a little over, so that a K at the edge does not come and go.
    """
    if not limits.constraints:
        return inside
    stays = np.arange(inside.shape[0])[:, None] == in_force[None, :]
    for target in limits.constraints:
        if target.metric is not LatencyMetric.INTER_TOKEN_LATENCY:
            continue
        spread = _percentile_over_mean(state, target)
        ceiling = target.max_seconds * np.where(stays, 1.0 + LENIENCE, 1.0)
        short = inside & (np.exp(seen.log_ms) / 1000.0 * spread <= ceiling)
        smallest = inside & (np.cumsum(inside, axis=0) == 1)
        inside = np.where(short.any(axis=0), short, smallest)
    return inside


def broken(state: State, inside: Bools, in_force: Ints) -> bool:
    """Whether the table in force holds a K that is not `inside` at a batch size where requests are."""
    batch = candidates.mean_batches(state.load[state.load[:, 0] > 0], in_force.size)
    return bool((~inside[in_force[batch - 1], batch - 1]).any())


def nearest_miss(state: State, limits: Limits, seen: Outlook, table: Ints) -> str | None:
    """Which target the traffic misses whatever K is, or None. Judged at the batch where requests are now."""
    total = float(state.load[:, 0].sum())
    if total <= 0:
        return None
    batch = min(max(round(float(state.load[:, 1].sum()) / total), 1), table.size)
    k = int(table[batch - 1])
    for target in limits.constraints:
        expected = _expected_seconds(state, seen, target, k, batch)
        if expected is not None and expected > target.max_seconds:
            at_best = f"{1000 * expected:.0f} ms at batch {batch} with K = {k}, the best"
            wanted = f"the target is {1000 * target.max_seconds:.0f} ms: add replicas or raise it"
            return f"{target.metric.value} p{target.percentile} is {at_best}; {wanted}"
    return None


def _expected_seconds(state: State, seen: Outlook, target: Constraint, k: int, batch: int) -> float | None:
    if target.metric is LatencyMetric.TIME_TO_FIRST_TOKEN:
        return _observed(state, target)
    log_ms = seen.log_tpot if target.metric is LatencyMetric.TIME_PER_OUTPUT_TOKEN else seen.log_ms
    return float(np.exp(log_ms[k, batch - 1])) / 1000.0 * _percentile_over_mean(state, target)


def _observed(state: State, target: Constraint) -> float | None:
    at = _family(target)
    return quantile(state.recent.latency[at], state.recent.bounds[at], target.percentile / 100.0)


def _percentile_over_mean(state: State, target: Constraint) -> float:
    at, high = _family(target), _observed(state, target)
    middle = mean(state.recent.latency[at], state.recent.bounds[at])
    if high is None or middle is None:
        return SPREAD_BOUNDS[0]
    return float(np.clip(high / middle, *SPREAD_BOUNDS))


def _family(target: Constraint) -> int:
    return list(FAMILIES.values()).index(target.metric)
