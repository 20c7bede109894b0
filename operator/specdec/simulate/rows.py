"""Outcome of a run -> the rows of the result file."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from specdec.simulate.run import OURS, Outcome
from specdec.simulate.workloads import Workload
from specdec.tuning import Kind

WEEK_SECONDS = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Row:
    """One policy on one workload and seed; None where a figure does not apply.

    trial_loss_percent: request time that trials truly cost; one that gained counts 0.
    """

    policy: str
    workload: str
    seed: int
    tpot_ms: float
    regret_oracle_percent: float
    regret_best_constant_percent: float
    slo_percent: float
    restarts_per_replica_week: float
    seconds_to_within_2_percent: float | None
    seconds_to_disable: float | None
    windows_worse_percent: float | None
    gain_interval_coverage_percent: float | None
    moves: int | None
    trials_percent: float | None
    trial_loss_percent: float | None = None
    cost_error_percent: float | None = None

    def document(self) -> dict[str, object]:
        """As the result file holds it."""
        return asdict(self)


def rows(workload: Workload, outcome: Outcome, untuned: str) -> list[Row]:
    """A row per policy and seed, `best-constant` and `card` added where the constants were run."""
    tpot = outcome.measures.tpot_ms()
    names = list(outcome.names)
    constants = [names.index(n) for n in names if n.startswith("constant-")]
    out = []
    for s in range(len(outcome.seeds)):
        best = min(constants, key=lambda c: float(tpot[c, s]))
        shown = [(name, p) for p, name in enumerate(names)] + [("best-constant", best), ("card", names.index(untuned))]
        for name, p in shown:
            out.append(_row(workload, outcome, (name, p, s), float(tpot[best, s]), names.index(untuned)))
    return out


def _row(workload: Workload, outcome: Outcome, which: tuple[str, int, int], best: float, untuned: int) -> Row:
    name, p, s = which
    measures, seed = outcome.measures, outcome.seeds[s]
    tpot = float(measures.tpot_ms()[p, s])
    oracle = float(measures.tpot_ms()[outcome.names.index("oracle"), s])
    since = (workload.drift_at_hours or 0.0) * 3600.0
    ours, key = name in OURS, (name, seed)
    covered = outcome.covered.get(key)
    weeks = workload.seconds / WEEK_SECONDS * workload.replicas
    return Row(
        policy=name,
        workload=workload.name,
        seed=seed,
        tpot_ms=tpot,
        regret_oracle_percent=100.0 * (tpot / oracle - 1.0),
        regret_best_constant_percent=100.0 * (tpot / best - 1.0),
        slo_percent=float(measures.slo_percent()[p, s]),
        restarts_per_replica_week=outcome.restarts.get(key, 0) / weeks,
        seconds_to_within_2_percent=measures.seconds_to_within(p, s, since),
        seconds_to_disable=_disabled(outcome, key),
        windows_worse_percent=float(measures.windows_worse_percent(p, untuned)[s]) if p != untuned else None,
        gain_interval_coverage_percent=100.0 * float(np.mean(covered)) if covered else None,
        moves=sum(d.decision.kind is not Kind.TRIAL for d in outcome.tuners[key].done) if ours else None,
        trials_percent=_trials(outcome, key, workload.seconds) if ours else None,
        trial_loss_percent=outcome.trial_losses.get(key),
        cost_error_percent=outcome.cost_errors.get(key),
    )


def _disabled(outcome: Outcome, key: tuple[str, int]) -> float | None:
    tuner = outcome.tuners.get(key)
    if tuner is None:
        return None
    return next((d.at for d in tuner.done if d.decision.kind is Kind.DISABLE), None)


def _trials(outcome: Outcome, key: tuple[str, int], seconds: float) -> float:
    spent = sum(d.decision.trial_seconds or 0.0 for d in outcome.tuners[key].done)
    return 100.0 * spent / seconds
