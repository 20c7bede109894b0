"""One workload under many policies and seeds: the loop that joins lanes, counters, policies and measures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from specdec.simulate import arrivals, policies, tuned
from specdec.simulate.counters import Counters
from specdec.simulate.explored import Explored
from specdec.simulate.lanes import OWN_START, Advanced, Lanes
from specdec.simulate.measures import HORIZON_SECONDS, Line, Measures, Mix, true_gain_percent
from specdec.simulate.policies import Policy, Seen
from specdec.simulate.rollouts import Rollouts
from specdec.simulate.tuned import Done, Tuned, untried_error_percent
from specdec.simulate.world import World, within_advance
from specdec.tuning import Kind, Prior

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ADVANCE_SECONDS: Final = 2.5
ORACLE_SECONDS: Final = 60.0
NOISE_SECONDS: Final = 600.0
OURS: Final = ("specdec-live", "specdec-live-stock", "specdec-restart")
CONSTANTS: Final = tuple(f"constant-{k}" for k in range(8))
POLICIES: Final = (
    "oracle", "oracle-any", *CONSTANTS, "best-constant", "card", "ema-tiers", "linear-goodput", "ucb", "thompson",
    "static-schedule", *OURS,
)  # fmt: skip


@dataclass
class _Prediction:
    """costs: the true time per token before and after, shape (K + 1, B + 1) each."""

    done: Done
    requests: Floats
    costs: tuple[Floats, Floats]


@dataclass(frozen=True, slots=True)
class _Coming:
    """A table on its way to one fleet's engines."""

    at: float
    policy: int
    seed: int
    table: Ints


@dataclass
class Outcome:
    """What a run left: measures by policy (in `names`) and seed, and what our tuners did."""

    names: tuple[str, ...]
    seeds: tuple[int, ...]
    measures: Measures
    tuners: dict[tuple[str, int], Tuned]
    restarts: dict[tuple[str, int], int]
    covered: dict[tuple[str, int], list[bool]] = field(default_factory=dict)
    cost_errors: dict[tuple[str, int], float] = field(default_factory=dict)
    trial_losses: dict[tuple[str, int], float] = field(default_factory=dict)


class Run:
    """Call `go` once."""

    def __init__(self, world: World, names: Sequence[str], seeds: Sequence[int], prior: Prior) -> None:
        # the oracles and measures know the step times that the advances run at
        world = within_advance(world, ADVANCE_SECONDS)
        self.world, self.seeds, self.prior = world, tuple(seeds), prior
        self.names = tuple(names)
        self.lanes = Lanes(world, len(self.names), len(self.seeds), ADVANCE_SECONDS)
        self.measures = Measures(world, len(self.names), len(self.seeds), world.workload.scrape.interval)
        self.rollouts = Rollouts(self.lanes, world.workload.restart_seconds)
        rng = np.random.default_rng((self.seeds[0], 3))
        learning = tuple(i for i, name in enumerate(self.names) if not _fixed(name))
        self.counters = Counters(world, learning, self.lanes.shape[1], rng)
        self.baselines: dict[tuple[int, int], Policy] = {}
        self.tuners: dict[tuple[int, int], Tuned] = {}
        self.explored: dict[tuple[int, int], Explored] = {}
        self.scrapes = np.random.default_rng((self.seeds[0], 5))
        self.noise = np.zeros((len(self.seeds), world.workload.replicas))
        self.noises = [np.random.default_rng((seed, 4)) for seed in self.seeds]
        self.predictions: dict[tuple[int, int], list[_Prediction]] = {}
        self.coming: list[_Coming] = []
        self.covered: dict[tuple[str, int], list[bool]] = {}
        self._begin()

    def go(self, progress: Callable[[float], None] | None = None) -> Outcome:
        """Simulate the whole workload; `progress` is told the share done."""
        workload = self.world.workload
        streams = [arrivals.stream(self.world, seed) for seed in self.seeds]
        start = 0.0
        for chunks in zip(*streams, strict=True):
            block = arrivals.block(self.world, chunks, start, ADVANCE_SECONDS)
            self._chunk(block, start)
            start += block.count.shape[0] * ADVANCE_SECONDS
            if progress is not None:
                progress(min(start / workload.seconds, 1.0))
        self.measures.end(self.lanes.steps_to_come(), self.last.k, Mix.at(self.world, start))
        restarts = {(self.names[p], self.seeds[s]): self.rollouts.count(p, s, len(self.seeds)) for p, s in self.tuners}
        ours = {(self.names[p], self.seeds[s]): found for (p, s), found in self.tuners.items()}
        errors = {
            key: error for key, tuner in ours.items() if (error := untried_error_percent(self.world, tuner)) is not None
        }
        losses = {(self.names[p], self.seeds[s]): found.lost_percent() for (p, s), found in self.explored.items()}
        return Outcome(self.names, self.seeds, self.measures, ours, restarts, self.covered, errors, losses)

    def _chunk(self, block: arrivals.Block, start: float) -> None:
        every = round(self.world.workload.scrape.interval / ADVANCE_SECONDS)
        mix, noise = Mix.at(self.world, start), self._noise(block.count.shape[0])
        for i in range(block.count.shape[0]):
            at = start + i * ADVANCE_SECONDS
            if at % ORACLE_SECONDS < ADVANCE_SECONDS:
                self._oracles(at)
                mix = Mix.at(self.world, at)
            self._arrived(at)
            self.rollouts.step(at, self.counters)
            self.last = done = self.lanes.advance(block, i, noise[i])
            self.counters.add(done, block.demand[i], ADVANCE_SECONDS)
            line = Line(self.lanes.waiting.reshape(self.lanes.shape), self.lanes.backlog)
            self.measures.add(done, line, at, ADVANCE_SECONDS, mix)
            if round(at / ADVANCE_SECONDS) % every == every - 1:
                self._tick(done, at + ADVANCE_SECONDS)

    def _begin(self) -> None:
        for p, name in enumerate(self.names):
            if name == "oracle-any":
                self.lanes.start[p] = OWN_START
            elif name.startswith("constant-"):
                k = int(name.removeprefix("constant-"))
                self.lanes.start[p], self.lanes.tables[p] = k, k
            for s, seed in enumerate(self.seeds):
                if name in OURS:
                    self.tuners[p, s] = tuned.tuner(self.world.workload, self.prior, name, seed, self.world.max_k)
                    self.explored[p, s] = Explored()
                    self._set(p, s, self.tuners[p, s].table())
                    self.lanes.start[p, list(self._replicas(s))] = self.tuners[p, s].state.start_k
                elif not _fixed(name):
                    self.baselines[p, s] = _baseline(name, self.world, self.prior, seed)
                    self._set(p, s, self.baselines[p, s].first())

    def _arrived(self, at: float) -> None:
        """Put in force what was decided on scrapes that took until now."""
        for coming in [c for c in self.coming if c.at <= at]:
            self.coming.remove(coming)
            self._set(coming.policy, coming.seed, coming.table)

    def _set(self, policy: int, seed: int, table: Ints) -> None:
        replicas = self.world.workload.replicas
        self.lanes.tables[policy, seed * replicas : (seed + 1) * replicas] = table

    def _oracles(self, at: float) -> None:
        self.best = self.world.best_table(at)
        self.cost = self.world.time_per_token(at)
        for p, name in enumerate(self.names):
            if name == "oracle":
                self.lanes.tables[p] = self.best
            elif name == "oracle-any":
                own = np.stack([self.world.time_per_token(at, k)[k] for k in range(self.world.max_k + 1)])
                self.lanes.tables[p] = own.argmin(axis=0)

    def _noise(self, advances: int) -> Floats:
        """Shape (advances, lanes of a policy): step times wander by a few percent, slowly, alike for all policies."""
        spread, shape = self.world.workload.step_noise, (advances, 2, self.noise.shape[1])
        keep = np.exp(-ADVANCE_SECONDS / NOISE_SECONDS)
        fresh = np.stack([rng.standard_normal(shape) for rng in self.noises], axis=2)  # (advances, 2, seeds, replicas)
        wander = np.empty_like(fresh[:, 0])
        for i, step in enumerate(np.sqrt(1 - keep**2) * fresh[:, 0]):
            self.noise = keep * self.noise + step
            wander[i] = self.noise
        return np.exp(spread * (wander + fresh[:, 1])).reshape(advances, -1)

    def _tick(self, done: Advanced, at: float) -> None:
        self.measures.tick(done, at - ADVANCE_SECONDS, self.cost, self.best)
        self._settle_predictions(done, at)
        for (p, s), explored in self.explored.items():
            lanes = list(self._replicas(s))
            explored.tick(done.batch[p, lanes], done.requests[p, lanes], self.cost)
        for (p, s), baseline in self.baselines.items():
            table = baseline.tick(at, self._seen(p, s))
            if table is not None:
                self._set(p, s, table)
        # alike for all policies, so that no row depends on which others are run
        lost = self.scrapes.random(self.lanes.shape[1]) < self.world.workload.scrape.lost
        resets = self.world.workload.scrape.resets_per_day * self.world.workload.scrape.interval / 86_400.0
        crashed = self.scrapes.random(self.lanes.shape[1]) < resets
        for (p, s), tuner in self.tuners.items():
            self._tune(p, s, tuner, at, ~(lost | ~self.lanes.up[p]))
            for replica in self._replicas(s):
                if crashed[replica]:
                    self.counters.reset(self.counters.lane(p, replica))

    def _tune(self, p: int, s: int, tuner: Tuned, at: float, reachable: NDArray[np.bool_]) -> None:
        samples = [
            self.counters.sample(self.counters.lane(p, replica), tuned.EPOCH + at, exact=tuner.exact)
            for replica in self._replicas(s)
            if reachable[replica]
        ]
        tuner.rolling = self.rollouts.busy(p, self._replicas(s))
        start_k, known = tuner.state.start_k, at + self.world.workload.scrape.delay
        decision = tuner.scraped(samples, known)
        if decision is None:
            return
        self.explored[p, s].decided(tuner.done[-1])
        if decision.kind is Kind.RESTART:
            self.rollouts.begin(p, self._replicas(s), tuner.table(), decision.start_k or self.world.max_k, at)
        else:
            self.coming.append(_Coming(known, p, s, tuner.table()))
        if decision.kind in {Kind.LIVE, Kind.RESTART} and (tuner.done[-1].before != tuner.done[-1].after).any():
            costs = self.world.time_per_token(at, start_k), self.world.time_per_token(at, tuner.state.start_k)
            found = _Prediction(tuner.done[-1], np.zeros(self.world.max_batch + 1), costs)
            self.predictions.setdefault((p, s), []).append(found)

    def _settle_predictions(self, done: Advanced, at: float) -> None:
        for (p, s), waiting in self.predictions.items():
            for one in waiting:
                lanes = list(self._replicas(s))
                np.add.at(one.requests, done.batch[p, lanes], done.requests[p, lanes])
            for one in [w for w in waiting if at - w.done.at >= HORIZON_SECONDS]:
                waiting.remove(one)
                self._cover(p, s, one)

    def _cover(self, p: int, s: int, one: _Prediction) -> None:
        gain, decision = one.done.decision.gain, one.done.decision
        if decision.reason.value not in {"BetterSchedule", "BetterStartValue"}:
            return
        truth = true_gain_percent(one.done.before, one.done.after, one.costs, one.requests)
        inside = gain.lower_percent <= truth <= gain.upper_percent
        self.covered.setdefault((self.names[p], self.seeds[s]), []).append(inside)

    def _seen(self, p: int, s: int) -> Seen:
        replicas = self._replicas(s)
        rows = slice(self.counters.lane(p, replicas.start), self.counters.lane(p, replicas.stop))
        drafts, accepted = self.counters.drafts[rows].sum(axis=0), self.counters.passed[rows].sum(axis=0)
        tokens = float(drafts.sum() + accepted.sum())
        drafts[0] = 0.0
        return Seen(drafts, accepted, float(self.counters.latency[rows, 0].sum()), tokens)

    def _replicas(self, s: int) -> range:
        replicas = self.world.workload.replicas
        return range(s * replicas, (s + 1) * replicas)


def _fixed(name: str) -> bool:
    return name.startswith(("constant-", "oracle"))


def _baseline(name: str, world: World, prior: Prior, seed: int) -> Policy:
    rng = np.random.default_rng((seed, 6))
    makers: dict[str, Callable[[], Policy]] = {
        "ema-tiers": lambda: policies.EmaTiers(world.max_k, world.max_batch),
        "linear-goodput": lambda: policies.LinearGoodput(policies.linear_profile(world)),
        "ucb": lambda: policies.Bandit(world.max_k, world.max_batch, False, rng),
        "thompson": lambda: policies.Bandit(world.max_k, world.max_batch, True, rng),
        "static-schedule": lambda: policies.StaticSchedule(policies.static_table(world, prior)),
    }
    return makers[name]()
