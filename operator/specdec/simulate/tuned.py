"""The production tuner on a simulated fleet: it is handed samples and limits, and what it decides is carried out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from specdec.simulate.workloads import Workload
from specdec.simulate.world import World
from specdec.tuning import (
    Decision,
    Disruption,
    Environment,
    Kind,
    Limits,
    Prior,
    State,
    Switching,
    acted,
    first_schedule,
    new_state,
    observe,
    prepared,
    recommend,
)
from specdec.tuning.samples import Sample

Ints = NDArray[np.int64]

EPOCH: Final = 1_700_000_000.0
DAY: Final = 86_400.0
LEAST_SHARE: Final = 0.01


@dataclass(frozen=True, slots=True)
class Done:
    """A decision that was carried out, with the tables before and after it."""

    at: float
    decision: Decision
    before: Ints
    after: Ints


@dataclass
class Tuned:
    """One fleet's tuner. `exact`: whether the engines have our counters; `restart`: whether K moves by restart only."""

    workload: Workload
    state: State
    exact: bool
    restart: bool
    chance: np.random.Generator
    done: list[Done] = field(default_factory=list)
    newest: float | None = None
    restarts_day: int = -1
    rolling: bool = False

    def limits(self, seconds: float) -> Limits:
        """What the operator's shell would pass in now."""
        fresh = self.restarts_day != int(seconds // DAY)
        return Limits(
            switching=Switching.RESTART if self.restart else Switching.LIVE,
            graph_capture_tokens=self.workload.graph_capture_tokens,
            max_num_seqs=self.workload.max_num_seqs,
            max_k=self.state.environment.start_k,
            replicas=self.workload.replicas,
            restart_seconds=self.workload.restart_seconds,
            rollout_in_progress=self.rolling,
            disruption=Disruption(int(fresh), window_open=True, any_time=True),
            metrics_age_seconds=None if self.newest is None else seconds - self.newest,
        )

    def scraped(self, samples: list[Sample], seconds: float) -> Decision | None:
        """One tick: what was scraped goes in, a decision that was carried out comes back."""
        now = EPOCH + seconds
        if samples:
            self.newest = max(sample.at for sample in samples) - EPOCH
        limits, chance = self.limits(seconds), float(self.chance.random())
        self.state = observe(prepared(self.state, limits, now, chance), samples, now)
        answer = recommend(self.state, limits, now, chance)
        if not isinstance(answer, Decision):
            return None
        before = self.table()
        self.state = acted(self.state, answer, now)
        self.done.append(Done(seconds, answer, before, self.table()))
        if answer.kind is Kind.RESTART:
            self.restarts_day = int(seconds // DAY)
        return answer

    def table(self) -> Ints:
        """Shape (B + 1,): K in force by batch, index 0 unused."""
        size = self.workload.max_num_seqs
        k = self.state.in_force.table()[:size]
        return np.array([k[0], *k, *([k[-1]] * (size - len(k)))], dtype=np.int64)


def untried_error_percent(world: World, tuned: Tuned) -> float | None:
    """Median error of the step time of a K next to one in use that was never tried at that batch, beside the K in use.

    Only batch sizes where the fleet spent time count. A common factor of all K moves no decision and is left out.
    """
    state, errors = tuned.state, []
    log_ms = state.surface.log_ms(state.grid)
    truth = np.log(world.seconds[state.start_k, :, 1:] * 1000.0)
    for bucket in np.flatnonzero(state.day_load[:, 0] > LEAST_SHARE * state.day_load[:, 0].sum()):
        batch = int(np.clip(round(state.day_load[bucket, 1] / state.day_load[bucket, 0]), 1, world.max_batch))
        used = state.in_force.k_at(batch)
        for k in range(max(used - 2, 1), min(used + 2, state.start_k) + 1):
            if state.tried_steps[k, bucket] < 1.0:
                estimated = log_ms[k, batch - 1] - log_ms[used, batch - 1]
                errors.append(abs(float(np.expm1(estimated - truth[k, batch - 1] + truth[used, batch - 1]))))
    return 100.0 * float(np.median(errors)) if errors else None


def tuner(workload: Workload, prior: Prior, name: str, seed: int, max_k: int) -> Tuned:
    """`name`: specdec-live, specdec-live-stock or specdec-restart. max_k: the largest K of the simulated engines."""
    environment = Environment(model="simulated", start_k=max_k, max_num_seqs=workload.max_num_seqs, image=workload.name)
    state, restart = new_state(environment, prior), name == "specdec-restart"
    tuned = Tuned(workload, state, name != "specdec-live-stock", restart, np.random.default_rng((seed, 7)))
    if restart:
        first = first_schedule(state, tuned.limits(0.0))
        tuned.state = new_state(environment, prior, first, max(first.ks))
    return tuned
