"""Engines for the tuner's unit tests: counters that grow as a cost table, a profile and a schedule say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from specdec.api.schedule import Schedule
from specdec.tuning import (
    CostTable,
    Decision,
    Environment,
    Hold,
    Limits,
    Prior,
    State,
    acted,
    estimated_prior,
    new_state,
    observe,
    prepared,
    recommend,
)
from specdec.tuning.samples import BATCH_BUCKET_ENDS, Cell, Histogram, Sample, StockCounters

CHAT = (0.72, 0.5076, 0.3502, 0.2364, 0.156, 0.1006, 0.0634)
CODE = (0.87, 0.7439, 0.6248, 0.5155, 0.4175, 0.3319, 0.2589)
HARD = (0.5, 0.2433, 0.1152, 0.053, 0.0237, 0.0103, 0.0043)
BROKEN = (0.12, 0.013, 0.001, 0.0, 0.0, 0.0, 0.0)
START = 1_700_000_000.0


@dataclass
class Pod:
    """One engine. counts: (K, bucket, mixed) -> steps, seconds, requests, prefill, drafts, generated, accepted..."""

    name: str
    costs: CostTable
    profile: Sequence[float] = CHAT
    slower: float = 1.0
    prefill_share: float = 0.0
    incarnation: str = "1"
    counts: dict[tuple[int, int, bool], np.ndarray] = field(default_factory=dict)
    chance: np.random.Generator = field(default_factory=lambda: np.random.default_rng(3))

    def serve(self, schedule: Schedule, batch: float, seconds: float) -> None:
        for size in np.clip(self.chance.poisson(batch, 10), 1, 256):
            k = schedule.k_at(int(size))
            step = float(self.costs.step_ms(k, np.array([float(size)]))[0]) / 1000.0 * self.slower
            self._count(k, int(size), step, seconds / 10 / step)

    def _count(self, k: int, size: int, step: float, steps: float) -> None:
        bucket = int(np.searchsorted(BATCH_BUCKET_ENDS, size))
        for mixed, share in ((False, 1 - self.prefill_share), (True, self.prefill_share)):
            if share == 0:
                continue
            row = self.counts.setdefault((k, bucket, mixed), np.zeros(6 + k))
            requests = steps * share * size
            accepted = requests * np.array(self.profile[:k])
            drafts = requests if k else 0.0
            prefill = steps * share * 100.0 if mixed else 0.0
            row += np.array(
                (steps * share, steps * share * step, requests, prefill, drafts, requests + accepted.sum(), *accepted)
            )

    def sample(self, at: float, *, exact: bool = True) -> Sample:
        cells = tuple(
            Cell(k, b, mixed, r[0], r[1], r[2], r[3], r[4], (r[4],) * k, tuple(r[6:].tolist()), r[5])
            for (k, b, mixed), r in self.counts.items()
        )
        return Sample(self.name, self.incarnation, at, self._stock(cells), cells if exact else ())

    def _stock(self, cells: Sequence[Cell]) -> StockCounters:
        accepted = [sum(c.accepted[i] for c in cells if i < c.k) for i in range(7)]
        steps, seconds = sum(c.steps for c in cells), sum(c.step_seconds for c in cells)
        requests = sum(c.requests for c in cells)
        bounds = (0.005, 0.01, 0.02, 0.04, 0.08)
        mean = seconds / steps if steps else 0.0
        counts = tuple(requests if bound >= mean else 0.0 for bound in bounds)
        latency = Histogram(bounds, counts, requests, sum(c.step_seconds * c.requests / c.steps for c in cells))
        return StockCounters(
            drafts=sum(c.drafts for c in cells),
            draft_tokens=sum(c.drafts * c.k for c in cells),
            accepted_tokens=sum(accepted),
            accepted_per_position=tuple(accepted),
            generated_tokens=sum(c.generated_tokens for c in cells),
            prompt_tokens=sum(c.prefill_tokens for c in cells),
            engine_steps=steps,
            inter_token_latency=latency,
            time_per_output_token=latency,
            time_to_first_token=latency,
            running_requests=1.0,
            waiting_requests=0.0,
            kv_cache_usage=0.1,
            preemptions=0.0,
            created=1.0,
        )


@dataclass
class Fleet:
    """Pods and the production tuner, driven by hand."""

    pods: list[Pod]
    state: State
    limits: Limits
    now: float = START
    lot: float = 0.5
    answers: list[Decision | Hold] = field(default_factory=list)

    def run(
        self,
        seconds: float,
        batch: float,
        *,
        exact: bool = True,
        every: float = 15.0,
        act: bool = True,
        spoil: Callable[[list[Sample]], list[Sample]] = lambda samples: samples,
    ) -> Decision | Hold:
        """`seconds` of traffic at a mean batch; the last answer."""
        for _ in range(max(round(seconds / every), 1)):
            self.now += every
            for pod in self.pods:
                pod.serve(self.state.in_force, batch, every)
            samples = spoil([pod.sample(self.now, exact=exact) for pod in self.pods])
            self.state = observe(prepared(self.state, self.limits, self.now, self.lot), samples, self.now)
            answer = recommend(self.state, self.limits, self.now, self.lot)
            self.answers.append(answer)
            if act and isinstance(answer, Decision):
                self.state = acted(self.state, answer, self.now, self.lot)
        return self.answers[-1]

    @property
    def decisions(self) -> list[Decision]:
        return [answer for answer in self.answers if isinstance(answer, Decision)]


def fleet(
    pods: int = 2,
    *,
    profile: Sequence[float] = CHAT,
    limits: Limits | None = None,
    prior: Prior | None = None,
    costs: CostTable | None = None,
    start_k: int = 7,
) -> Fleet:
    """A fresh fleet; `costs` are the true ones (default: the prior's)."""
    belief = prior or estimated_prior()
    environment = Environment(model="m", drafter="d", start_k=start_k)
    made = [Pod(f"pod-{i}", costs or belief.costs, profile, chance=np.random.default_rng(i)) for i in range(pods)]
    return Fleet(made, new_state(environment, belief), limits or Limits())


def scaled(costs: CostTable, factor: float, bend: float = 0.0) -> CostTable:
    """`costs` times `factor`, and dearer by `bend` per e-fold of verified tokens."""
    tokens = np.array(costs.verify_tokens)
    ms = np.array(costs.verify_ms) * factor * (1 + bend * np.log(tokens))
    return replace(costs, verify_ms=tuple(float(v) for v in ms))
