"""What is true in a simulation: step times, acceptance per class of request, the best K. The tuner never sees this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from specdec.simulate.workloads import Workload, WorkloadError
from specdec.tuning.prior import CostTable

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LONGEST_TOKENS: Final = 12288.0  # a longer answer is cut, or one of LONGEST_MEANS times the mean where that is more
LONGEST_MEANS: Final = 8.0
STRAY: Final = 0.7  # found by comparing with the simulation of every event
VARIANTS: Final = (-1.2247, 0.0, 1.2247)  # standard deviations; equal weights give mean 0, variance 1


@dataclass(frozen=True, slots=True)
class World:
    """Dense tables of one workload on one cost table.

    A class is a profile with one of VARIANTS of its hazards.
    seconds: shape (start K + 1, K + 1, B + 1), step time with the CUDA graph cliff, by start value, K and batch.
    acceptance: shape (classes, K_max), cumulative. length: shape (K + 1, classes), mean tokens per step.
    overshoot: the same shape, tokens of a request's last step that it has no more use for, on average.
    capacity: tokens per second of one replica at its best constant K.
    """

    workload: Workload
    max_k: int
    seconds: Floats
    acceptance: Floats
    length: Floats
    overshoot: Floats
    capacity: float

    @property
    def max_batch(self) -> int:
        return self.workload.max_num_seqs

    @property
    def longest_tokens(self) -> float:
        """A longer answer is cut."""
        return max(LONGEST_TOKENS, LONGEST_MEANS * self.workload.output_tokens[0])

    def class_shares(self, at: float) -> Floats:
        """Shape (classes,): share of arriving requests."""
        return np.repeat(self.workload.shares_at(at), len(VARIANTS)) / len(VARIANTS)

    def mean_length(self, at: float) -> Floats:
        """Shape (K + 1,): tokens per step that minimise request time when divided into the step time.

        Harmonic over classes: every token of a class waits step time / its own length.
        """
        shares = self.class_shares(at)
        out: Floats = 1.0 / (shares / self.length).sum(axis=1)
        return out

    def time_per_token(self, at: float, start_k: int | None = None) -> Floats:
        """Shape (K + 1, B + 1), seconds, for the traffic's mix at `at`; row K > start_k is infinite."""
        start = self.max_k if start_k is None else start_k
        table: Floats = self.seconds[start] / self.mean_length(at)[:, None]
        table[start + 1 :] = np.inf
        return table

    def best_table(self, at: float) -> Ints:
        """Shape (B + 1,): the oracle's K for an engine started at K_max."""
        out: Ints = self.time_per_token(at).argmin(axis=0)
        return out


def build(workload: Workload, costs: CostTable, profiles: Mapping[str, tuple[float, ...]]) -> World:
    """Truth for `workload`. Raises WorkloadError when its mix names a profile that `profiles` lacks."""
    missing = [name for name in workload.profiles if name not in profiles]
    if missing:
        raise WorkloadError(
            f"workload {workload.name}: its mix names profile '{missing[0]}'; the profiles are {', '.join(profiles)}"
        )
    max_k = costs.max_k
    acceptance = np.array(
        [_variant(profiles[name], max_k, workload.request_spread * z) for name in workload.profiles for z in VARIANTS]
    )
    length = np.concatenate((np.ones((len(acceptance), 1)), 1.0 + np.cumsum(acceptance, axis=1)), axis=1).T
    seconds = _step_seconds(workload, costs)
    return World(
        workload, max_k, seconds, acceptance, length, _overshoot(acceptance), _capacity(workload, seconds, length)
    )


def within_advance(world: World, advance_seconds: float) -> World:
    """`world` as advances of `advance_seconds` see it: step times averaged over how the batch strays in one, and
    scrapes at the ends of whole ones.

    Requests come and go within an advance, and tokens per second are concave in the batch, so the time at the mean
    batch would be too short. The batch is taken to stray with variance STRAY x batch x advance / service time.
    """
    shares = np.mean([world.class_shares(h * 3600.0) for h, _ in world.workload.mix], axis=0)
    length = 1.0 / (shares / world.length).sum(axis=1)
    batch = np.arange(world.max_batch + 1.0)
    over = _over_limit(world.workload, world.max_k, batch) * world.workload.eager_ms / 1000.0
    plain, out = world.seconds - over, world.seconds.copy()
    for start in range(world.max_k + 1):
        for k in range(world.max_k + 1):
            rate = length[k] / plain[start, k] / world.workload.output_tokens[0]
            out[start, k, 1:] = _strayed(plain[start, k], STRAY * batch * rate * advance_seconds)[1:]
    scrape = world.workload.scrape
    interval = max(round(scrape.interval / advance_seconds), 1) * advance_seconds
    workload = replace(world.workload, scrape=replace(scrape, interval=interval))
    return replace(world, workload=workload, seconds=out + over)


def _strayed(seconds: Floats, variance: Floats) -> Floats:
    """Shape (B + 1,): batch over the mean of batch / seconds, the batch normal around each size, never negative."""
    batch = np.arange(seconds.size, dtype=float)
    away = batch[None, :] - batch[:, None]
    weight = np.exp(-(away**2) / (2.0 * np.maximum(variance, 1e-3))[:, None])
    weight /= weight.sum(axis=1, keepdims=True)
    centre = weight @ batch
    out: Floats = np.maximum(centre, 1e-9) / np.maximum(weight @ (batch / seconds), 1e-9)
    return out


def _over_limit(workload: Workload, max_k: int, batch: Floats) -> NDArray[np.bool_]:
    """Shape (start + 1, K + 1, B + 1): where a step exceeds the CUDA graph limit."""
    start, k = np.meshgrid(np.arange(max_k + 1), np.arange(max_k + 1), indexing="ij")
    tokens = batch * (np.minimum(start, k) + 1)[..., None]
    limit = np.inf if workload.graph_capture_tokens is None else workload.graph_capture_tokens
    out: NDArray[np.bool_] = tokens > limit
    return out


def _overshoot(acceptance: Floats) -> Floats:
    """Mean excess over a threshold of a sum of steps of X tokens, by renewal theory: (E[X^2] - E[X]) / 2 E[X]."""
    order = 2.0 * np.arange(1, acceptance.shape[1] + 1) + 1.0
    ones = np.ones((len(acceptance), 1))
    first = np.concatenate((ones, 1.0 + np.cumsum(acceptance, axis=1)), axis=1)
    second = np.concatenate((ones, 1.0 + np.cumsum(acceptance * order, axis=1)), axis=1)
    out: Floats = ((second - first) / (2.0 * first)).T
    return out


def _variant(cumulative: tuple[float, ...], max_k: int, shift: float) -> Floats:
    """The profile with every hazard moved by `shift` logits; a short profile goes on with its last hazard."""
    rates = np.maximum(np.array(cumulative[:max_k]), 0.0)
    hazards = np.divide(
        rates, np.concatenate(([1.0], rates[:-1])), out=np.zeros_like(rates), where=rates_before(rates) > 0
    )
    hazards = np.concatenate((hazards, np.full(max_k - hazards.size, hazards[-1])))
    inner = np.clip(hazards, 1e-9, 1 - 1e-9)
    moved = 1.0 / (1.0 + (1.0 / inner - 1.0) * np.exp(-shift))
    out: Floats = np.cumprod(np.where(hazards > 0, moved, 0.0), dtype=np.float64)
    return out


def rates_before(rates: Floats) -> Floats:
    """Probability of reaching each position."""
    return np.concatenate(([1.0], rates[:-1]))


def _step_seconds(workload: Workload, costs: CostTable) -> Floats:
    batch = np.arange(workload.max_num_seqs + 1, dtype=float)
    at = np.maximum(batch, 1.0)
    table = np.zeros((costs.max_k + 1, costs.max_k + 1, batch.size))
    for start in range(costs.max_k + 1):
        for k in range(costs.max_k + 1):
            table[start, k] = costs.step_ms(min(k, start), at, start_k=max(start, 1)) / 1000.0
    return table + _over_limit(workload, costs.max_k, batch) * workload.eager_ms / 1000.0


def _capacity(workload: Workload, seconds: Floats, length: Floats) -> float:
    """Tokens per second at the largest batch, or the batch where it peaks, of the best constant K at the mean mix."""
    shares = np.mean([workload.shares_at(h * 3600.0) for h, _ in workload.mix], axis=0)
    weights = np.repeat(shares, len(VARIANTS)) / len(VARIANTS)
    mean = 1.0 / (weights / length).sum(axis=1)
    batch = np.arange(seconds.shape[2])
    return float((batch[None, :] * mean[:, None] / seconds[-1]).max())
