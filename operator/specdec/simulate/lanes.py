"""All replicas of all policies and seeds, advanced together in steps of a second or two.

The requests of one replica share a virtual clock that counts the tokens each has received (processor sharing: an engine
step serves every running request). A request leaves when the clock reaches its arrival plus its length, its length
scaled by how its class is accepted beside the reference class. Departures wait in a ring of token bins, so one advance
is a handful of array operations whatever the number of requests. Time inside an advance is not lost: a request counts
from its own arrival and to its own departure.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from specdec.simulate.arrivals import Block
from specdec.simulate.world import World

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BIN_TOKENS: Final = 64.0
PREFILL_SHARE: Final = 0.8  # of an advance that prefill may take before it has to wait
OWN_START: Final = -1  # a lane whose engine changes its start value with K, for free


@dataclass(frozen=True, slots=True)
class Advanced:
    """What one advance did, shape (policies, seeds x replicas): K and batch it ran at, step time, engine steps.

    prefill: seconds spent on prompts. requests: mean requests present. tokens: of the requests admitted.
    arrived: how many were admitted. cut: engine steps that requests had still to come when their engine went away.
    """

    k: Ints
    batch: Ints
    step_seconds: Floats
    steps: Floats
    prefill: Floats
    requests: Floats
    tokens: Floats
    arrived: Floats
    cut: Floats


@dataclass(frozen=True, slots=True)
class _Incoming:
    """Requests of one advance, flat; lane: index into (policy, seed x replica)."""

    lane: Ints
    kind: Ints
    tokens: Floats
    prefill: Floats
    late: Floats
    rounding: Floats


class Lanes:
    """State of `policies` x (`seeds` x replicas). A lane is one replica under one policy and seed.

    world: with step times `within_advance`.
    """

    def __init__(self, world: World, policies: int, seeds: int, step_seconds: float) -> None:
        self.world, self.dt = world, step_seconds
        self.replicas = world.workload.replicas
        self.shape = (policies, seeds * self.replicas)
        self.count = policies * seeds * self.replicas
        self.tables = np.full((*self.shape, world.max_batch + 1), world.max_k, dtype=np.int64)
        self.start = np.full(self.shape, world.max_k, dtype=np.int64)
        self.up = np.ones(self.shape, dtype=bool)
        self.present = np.zeros(self.shape)
        self.clock = np.zeros(self.shape)
        self.backlog = np.zeros(self.shape)
        self.left, self.moved = np.zeros(self.shape), np.zeros(self.shape)
        self._nothing = np.zeros(self.shape)
        self.waiting = np.zeros(self.count)
        self.queues: dict[int, deque[tuple[int, float, float, float]]] = {}
        self._row = np.arange(self.count).reshape(self.shape)
        self._slower = np.tile(np.asarray(world.workload.slower), seeds)
        self._seconds = world.seconds.ravel()
        self._reference = world.length.mean(axis=1)
        self._scale = np.ascontiguousarray(self._reference[:, None] / world.length)  # (K + 1, classes)
        self._overshoot = np.ascontiguousarray(world.overshoot)
        self._cut = np.zeros(self.shape)
        passed = step_seconds / float(world.seconds[..., 1:].min() * self._slower.min()) * float(self._reference.max())
        self.bins = _bins(world.longest_tokens * float(self._scale.max()) + 2.0 * passed)
        self._ring = np.zeros((self.count, self.bins))
        self._flat = self._ring.reshape(-1)
        self._place = self._row * self.bins  # in the flat ring

    def advance(self, block: Block, i: int, noise: Floats) -> Advanced:
        """Move every lane by `dt`, with step `i` of `block` arriving.

        noise: shape (seeds x replicas,), factor on the step time, alike for all policies.
        """
        arrived, tokens = block.count[i], block.tokens[i]
        crowded = (self.present + arrived).max() > self.world.max_batch
        if crowded or self.queues or not self.up.all():
            return self._advance_slowly(block, i, noise)
        k, size, seconds, steps, prefill, moved = self._run(arrived, block.prefill[i], noise)
        rows = block.rows(i)
        if rows.stop > rows.start:
            lane = block.lane[rows]
            at = k[:, lane] * self._scale.shape[1] + block.kind[rows]
            work = block.length[rows] + self._overshoot.take(at)
            target = block.late[rows] * moved[:, lane] + work * self._scale.take(at)
            self._insert(self._place[:, lane], self.clock[:, lane], target, block.rounding[rows])
        requests = self._settle(moved, arrived, block.presence[i])
        admitted, asked = self._nothing + arrived, self._nothing + tokens
        return Advanced(k, size, seconds, steps, prefill, requests, asked, admitted, self._nothing)

    def _run(
        self, arrived: Floats, prefill: Floats, noise: Floats
    ) -> tuple[Ints, Ints, Floats, Floats, Floats, Floats]:
        """K, batch, step seconds, steps, prefill seconds and tokens by which the clocks move."""
        # who will leave is not known yet; the last count would bring in its noise, so what is usual is taken
        leaving = self.present * -np.expm1(-self.moved / self.world.workload.output_tokens[0])
        middle = self.present + 0.5 * (arrived - leaving)
        size = np.minimum(np.maximum(np.rint(middle), 1), self.world.max_batch).astype(np.int64)
        k = self.tables.reshape(self.count, -1)[self._row, size]
        ks, sizes = self.world.seconds.shape[1:]
        start = np.where(self.start == OWN_START, k, self.start)
        seconds = self._seconds[(start * ks + k) * sizes + size] * (self._slower * noise)
        self.backlog += prefill
        used = np.minimum(self.backlog, PREFILL_SHARE * self.dt)
        self.backlog -= used
        steps = (self.dt - used) / seconds
        return k, size, seconds, steps, used, self._reference[k] * steps

    def _insert(self, place: Ints, clock: Floats, target: Floats, rounding: Floats) -> None:
        bins = np.floor((clock + target) / BIN_TOKENS + rounding)
        bins = np.maximum(bins, np.floor(clock / BIN_TOKENS) + 1.0).astype(np.int64)
        np.add.at(self._flat, (place + (bins & (self.bins - 1))).ravel(), 1.0)

    def _settle(self, moved: Floats, arrived: Floats, presence: Floats) -> Floats:
        """Let the clocks move by `moved`; the mean number of requests present meanwhile."""
        base = np.floor(self.clock / BIN_TOKENS)
        passed = np.floor((self.clock + moved) / BIN_TOKENS) - base
        ahead = np.arange(1, int(passed.max()) + 1)[:, None, None]  # (bins, policies, seeds x replicas)
        at = self._place + ((base.astype(np.int64) + ahead) & (self.bins - 1))
        due = self._flat.take(at)
        out = due * (ahead <= passed)
        self._flat[at] = due - out
        left = out.sum(axis=0)
        # each left when the clock came to the end of its bin; what was then still to come, it missed
        missed = left * (self.clock + moved - base * BIN_TOKENS) - (out * ahead).sum(axis=0) * BIN_TOKENS
        early = missed / np.maximum(moved, 1e-9)
        requests: Floats = np.maximum(self.present + presence - early, 0.0)
        self.present = np.maximum(self.present + arrived - left, 0.0)
        self.left = left
        self.clock += moved
        self.moved = moved
        return requests

    def _advance_slowly(self, block: Block, i: int, noise: Floats) -> Advanced:
        """The same when replicas are down or full: requests are moved elsewhere, or wait in line."""
        incoming = self._admit(self._reroute(block, i))
        arrived = self._sum(incoming, np.ones_like(incoming.late))
        k, size, seconds, steps, prefill, moved = self._run(arrived, self._sum(incoming, incoming.prefill), noise)
        lane = incoming.lane
        at = k.ravel()[lane], incoming.kind
        clock, work = self.clock.ravel()[lane], incoming.tokens + self._overshoot[at]
        target = incoming.late * moved.ravel()[lane] + work * self._scale[at]
        self._insert(lane * self.bins, clock, target, incoming.rounding)
        requests = self._settle(moved, arrived, self._sum(incoming, 1.0 - incoming.late))
        tokens = self._sum(incoming, incoming.tokens)
        cut, self._cut = self._cut, np.zeros(self.shape)
        return Advanced(k, size, seconds, steps, prefill, requests, tokens, arrived, cut)

    def _sum(self, incoming: _Incoming, values: Floats) -> Floats:
        return np.bincount(incoming.lane, values, self.count).astype(np.float64).reshape(self.shape)

    def _reroute(self, block: Block, i: int) -> _Incoming:
        rows, policies = block.rows(i), self.shape[0]
        lane = (np.arange(policies)[:, None] * self.shape[1] + block.lane[rows][None, :]).ravel()
        kind = np.tile(block.kind[rows], policies)
        columns = (block.length, block.prefill_each, block.late, block.rounding)
        tokens, prefill, late, rounding = (np.tile(c[rows], policies) for c in columns)
        serving = self.up.ravel()
        for at in np.flatnonzero(~serving[lane]):
            fleet = lane[at] // self.replicas * self.replicas
            others = np.flatnonzero(serving[fleet : fleet + self.replicas])
            if others.size:
                lane[at] = fleet + others[int(rounding[at] * 7919.0) % others.size]
        return _Incoming(lane, kind, tokens, prefill, late, rounding)

    def _admit(self, incoming: _Incoming) -> _Incoming:
        """Requests beyond the largest batch wait, first come first served; so do those whose fleet is all away."""
        free = np.floor(self.world.max_batch - self.present + self.left)
        room = np.where(self.up, free, 0.0).astype(np.int64).ravel()
        crowded = np.flatnonzero((np.bincount(incoming.lane, minlength=self.count) > room) | (self.waiting > 0))
        if not crowded.size:
            return incoming
        rows: list[tuple[int, int, float, float, float, float]] = []
        for lane in crowded.tolist():
            queue = self.queues.setdefault(lane, deque())
            for j in np.flatnonzero(incoming.lane == lane):
                entry = (incoming.kind[j], incoming.tokens[j], incoming.prefill[j], incoming.rounding[j])
                queue.append((int(entry[0]), float(entry[1]), float(entry[2]), float(entry[3])))
            for _ in range(min(max(int(room[lane]), 0), len(queue))):
                kind, tokens, prefill, rounding = queue.popleft()
                rows.append((lane, kind, tokens, prefill, 0.0, rounding))
            self.waiting[lane] = len(queue)
            if not queue:
                del self.queues[lane]
        stay = ~np.isin(incoming.lane, crowded)
        late = np.array(rows, dtype=float).reshape(-1, 6)
        whole = [
            np.concatenate((c[stay], late[:, j].astype(np.int64))) for j, c in enumerate((incoming.lane, incoming.kind))
        ]
        columns = (incoming.tokens, incoming.prefill, incoming.late, incoming.rounding)
        real = [np.concatenate((c[stay], late[:, j + 2])) for j, c in enumerate(columns)]
        return _Incoming(whole[0], whole[1], real[0], real[1], real[2], real[3])

    def clear(self, policy: int, replica: int) -> None:
        """An engine that goes away takes its requests with it, and what they had still to come."""
        row = int(self._row[policy, replica])
        self._cut[policy, replica] += self.steps_to_come()[policy, replica]
        self.present[policy, replica] = self.backlog[policy, replica] = 0.0
        self._ring[row] = 0.0

    def steps_to_come(self) -> Floats:
        """Shape (policies, seeds x replicas): engine steps that the requests in service still need, added up."""
        base = np.floor(self.clock / BIN_TOKENS).astype(np.int64)
        ahead = (np.arange(self.bins) - base[..., None]) & (self.bins - 1)
        ring = self._ring.reshape(*self.shape, self.bins)
        tokens = (ring * ahead).sum(axis=-1) * BIN_TOKENS - ring.sum(axis=-1) * (self.clock - base * BIN_TOKENS)
        size = np.clip(np.rint(self.present), 1, self.world.max_batch).astype(np.int64)
        k = self.tables.reshape(self.count, -1)[self._row, size]
        out: Floats = np.maximum(tokens, 0.0) / self._reference[k]
        return out


def _bins(tokens: float) -> int:
    """Of a ring, a power of two. tokens: of the clock, that the longest answer and one advance may take."""
    return 1 << math.ceil(math.log2(tokens / BIN_TOKENS))
