"""Open-loop arrivals, equal for every policy: what a request asks for is drawn before anything is served."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from specdec.simulate.world import World

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CHUNK_SECONDS: Final = 1800.0
RATE_STEP_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Requests in order of arrival, shape (n,) each: seconds since the start, replica, class, tokens, rounding draw."""

    at: Floats
    replica: Ints
    kind: Ints
    output_tokens: Floats
    prompt_tokens: Floats
    rounding: Floats


@dataclass(frozen=True, slots=True)
class Block:
    """Arrivals of several fleets in order, and their sums per advance.

    lane, kind, length, prefill_each, late, rounding: shape (n,); late is the share of the advance that was over.
    count, tokens, prefill, presence: shape (advances, seeds x replicas). demand: shape (advances, seeds x replicas,
    classes), tokens asked for. edges: shape (advances + 1,), where each advance starts among the n.
    """

    lane: Ints
    kind: Ints
    length: Floats
    prefill_each: Floats
    late: Floats
    rounding: Floats
    count: Floats
    tokens: Floats
    prefill: Floats
    presence: Floats
    demand: Floats
    edges: Ints

    def rows(self, i: int) -> slice:
        """The arrivals of advance `i`."""
        return slice(int(self.edges[i]), int(self.edges[i + 1]))


def block(world: World, fleets: Sequence[Arrivals], start: float, step_seconds: float) -> Block:
    """One chunk of each fleet, cut into advances of `step_seconds`."""
    seconds = min(CHUNK_SECONDS, world.workload.seconds - start)
    advances, lanes = max(round(seconds / step_seconds), 1), len(fleets) * world.workload.replicas
    at = np.concatenate([fleet.at for fleet in fleets])
    order = np.argsort(at, kind="stable")
    lane = np.concatenate([s * world.workload.replicas + fleet.replica for s, fleet in enumerate(fleets)])[order]
    kind = np.concatenate([fleet.kind for fleet in fleets])[order]
    length = np.minimum(np.concatenate([fleet.output_tokens for fleet in fleets])[order], world.longest_tokens)
    prompt = np.concatenate([fleet.prompt_tokens for fleet in fleets])[order]
    prefill = prompt * (world.workload.prefill_ms_per_token / 1000.0)
    place = (at[order] - start) / step_seconds
    index = np.minimum(place.astype(np.int64), advances - 1)
    late = np.clip(place - index, 0.0, 1.0)
    cell, classes = index * lanes + lane, world.length.shape[1]

    def total(weights: Floats | None) -> Floats:
        return np.bincount(cell, weights, advances * lanes).reshape(advances, lanes).astype(float)

    demand = np.bincount(cell * classes + kind, length, advances * lanes * classes).astype(np.float64)
    return Block(
        lane,
        kind,
        length,
        prefill,
        late,
        np.concatenate([fleet.rounding for fleet in fleets])[order],
        total(None),
        total(length),
        total(prefill),
        total(1.0 - late),
        demand.reshape(advances, lanes, classes),
        np.searchsorted(index, np.arange(advances + 1)),
    )


def stream(world: World, seed: int) -> Iterator[Arrivals]:
    """Arrivals of one fleet, CHUNK_SECONDS at a time."""
    rng = np.random.default_rng((seed, 1))
    workload = world.workload
    shape = 1.0 / workload.burst_cv**2
    rest = float(rng.gamma(shape, 1.0 / shape))  # of unit-rate time, until the next arrival
    for start in np.arange(0.0, workload.seconds, CHUNK_SECONDS):
        end = min(start + CHUNK_SECONDS, workload.seconds)
        edges = np.linspace(start, end, max(int((end - start) / RATE_STEP_SECONDS), 1) + 1)
        rate = _requests_per_second(world, (edges[1:] + edges[:-1]) / 2)
        area = np.concatenate(([0.0], np.cumsum(rate * np.diff(edges))))
        units, rest = _unit_arrivals(rng, shape, rest, float(area[-1]))
        yield _requests(world, rng, np.interp(units, area, edges))


def _requests_per_second(world: World, at: Floats) -> Floats:
    load = world.workload.load_at(at)
    if not world.workload.relative:
        return load
    return load * world.capacity * world.workload.replicas / world.workload.output_tokens[0]


def _unit_arrivals(rng: np.random.Generator, shape: float, rest: float, length: float) -> tuple[Floats, float]:
    """Arrival times in (0, length] of a renewal process with unit rate, and what is left of the gap at its end."""
    times = [np.array([rest])]
    while times[-1][-1] <= length:
        gaps = rng.gamma(shape, 1.0 / shape, int(length * 1.1) + 16)
        times.append(times[-1][-1] + np.cumsum(gaps))
    joined = np.concatenate(times)
    count = int(np.searchsorted(joined, length, side="right"))
    return joined[:count], float(joined[count] - length)


def _requests(world: World, rng: np.random.Generator, at: Floats) -> Arrivals:
    workload, n = world.workload, at.size
    balance = np.cumsum(workload.balance) / sum(workload.balance)
    return Arrivals(
        at,
        np.searchsorted(balance, rng.random(n), side="right").clip(0, workload.replicas - 1),
        _classes(world, rng, at),
        np.maximum(_lognormal(rng, workload.output_tokens, n), 1.0),
        _lognormal(rng, workload.prompt_tokens, n),
        rng.random(n),
    )


def _classes(world: World, rng: np.random.Generator, at: Floats) -> Ints:
    """The class of each request, by the mix of its few seconds."""
    slots, slot = np.unique((at / RATE_STEP_SECONDS).astype(np.int64), return_inverse=True)
    classes = world.length.shape[1]
    shares = np.array([world.class_shares(float(value) * RATE_STEP_SECONDS) for value in slots])
    upper = np.cumsum(shares.reshape(-1, classes), axis=1)[slot]
    out: Ints = (rng.random(at.size)[:, None] >= upper).sum(axis=1).clip(0, classes - 1)
    return out


def _lognormal(rng: np.random.Generator, mean_cv: tuple[float, ...], n: int) -> Floats:
    mean, cv = mean_cv
    sigma2 = np.log1p(cv * cv)
    return rng.lognormal(np.log(mean) - sigma2 / 2, np.sqrt(sigma2), n)
