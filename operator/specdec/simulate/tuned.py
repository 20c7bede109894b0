"""The production tuner on a simulated fleet: it is handed samples and limits, and what it decides is carried out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from specdec.simulate.workloads import Workload
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
    recommend,
)
from specdec.tuning.samples import Sample

Ints = NDArray[np.int64]

EPOCH: Final = 1_700_000_000.0
DAY: Final = 86_400.0


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
            disruption=Disruption(int(fresh), window_open=True),
            metrics_age_seconds=None if self.newest is None else seconds - self.newest,
        )

    def scraped(self, samples: list[Sample], seconds: float) -> Decision | None:
        """One tick: what was scraped goes in, a decision that was carried out comes back."""
        now = EPOCH + seconds
        if samples:
            self.newest = max(sample.at for sample in samples) - EPOCH
        self.state = observe(self.state, samples, now)
        answer = recommend(self.state, self.limits(seconds), now, float(self.chance.random()))
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


def tuner(workload: Workload, prior: Prior, name: str, seed: int) -> Tuned:
    """`name`: specdec-live, specdec-live-stock or specdec-restart."""
    environment = Environment(
        model="simulated", start_k=prior.costs.max_k, max_num_seqs=workload.max_num_seqs, image=workload.name
    )
    state, restart = new_state(environment, prior), name == "specdec-restart"
    tuned = Tuned(workload, state, name != "specdec-live-stock", restart, np.random.default_rng((seed, 7)))
    if restart:
        first = first_schedule(state, tuned.limits(0.0))
        tuned.state = new_state(environment, prior, first, max(first.ks))
    return tuned
