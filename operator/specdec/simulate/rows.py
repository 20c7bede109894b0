"""Outcome of a run -> the rows of the result file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from specdec.simulate.run import OURS, Outcome
from specdec.simulate.workloads import Workload
from specdec.tuning import Kind

Floats = NDArray[np.float64]

WEEK_SECONDS = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Row:
    """One policy on one workload and seed; None where a figure does not apply, or what it counts to never happened.

    trial_loss_percent: request time that trials truly cost; one that gained counts 0.
    """

    policy: str
    workload: str
    seed: int
    tpot_ms: float | None
    regret_oracle_percent: float | None
    regret_best_constant_percent: float | None
    slo_percent: float | None
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
    with np.errstate(invalid="ignore"):  # not a number where no request came
        tpot = outcome.measures.tpot_ms()
    names = list(outcome.names)
    constants = [names.index(n) for n in names if n.startswith("constant-")]
    out = []
    for s in range(len(outcome.seeds)):
        best = min(constants, key=lambda c: float(tpot[c, s]))
        shown = [(name, p) for p, name in enumerate(names)] + [("best-constant", best), ("card", names.index(untuned))]
        for name, p in shown:
            out.append(_row(workload, outcome, (name, p, s), tpot[[p, names.index("oracle"), best], s], untuned))
    return out


def _finite(figure: float | None) -> float | None:
    """None too where there was nothing to divide by: JSON has no other word for it."""
    return figure if figure is not None and isfinite(figure) else None


def _row(workload: Workload, outcome: Outcome, which: tuple[str, int, int], times: Floats, untuned: str) -> Row:
    """times: shape (3,), milliseconds per token: its own, the oracle's, the best constant's."""
    name, p, s = which
    measures, seed, twin = outcome.measures, outcome.seeds[s], outcome.names.index(untuned)
    tpot, oracle, best = times.tolist()
    since = (workload.drift_at_hours or 0.0) * 3600.0
    ours, key = name in OURS, (name, seed)
    covered = outcome.covered.get(key)
    weeks = workload.seconds / WEEK_SECONDS * workload.replicas
    return Row(
        policy=name,
        workload=workload.name,
        seed=seed,
        tpot_ms=_finite(tpot),
        regret_oracle_percent=_finite(100.0 * (tpot / oracle - 1.0)),
        regret_best_constant_percent=_finite(100.0 * (tpot / best - 1.0)),
        slo_percent=float(measures.slo_percent()[p, s]) if isfinite(tpot) else None,
        restarts_per_replica_week=outcome.restarts.get(key, 0) / weeks,
        seconds_to_within_2_percent=measures.seconds_to_within(p, s, since),
        seconds_to_disable=_disabled(outcome, key, since),
        windows_worse_percent=float(measures.windows_worse_percent(p, twin)[s]) if p != twin else None,
        gain_interval_coverage_percent=100.0 * float(np.mean(covered)) if covered else None,
        moves=sum(d.decision.kind is not Kind.TRIAL for d in outcome.tuners[key].done) if ours else None,
        trials_percent=_trials(outcome, key, workload.seconds) if ours else None,
        trial_loss_percent=_finite(outcome.trial_losses.get(key)),
        cost_error_percent=_finite(outcome.cost_errors.get(key)),
    )


def _disabled(outcome: Outcome, key: tuple[str, int], since: float) -> float | None:
    """Seconds after `since`, the drift or the start."""
    tuner = outcome.tuners.get(key)
    if tuner is None:
        return None
    return next((d.at - since for d in tuner.done if d.decision.kind is Kind.DISABLE and d.at >= since), None)


def _trials(outcome: Outcome, key: tuple[str, int], seconds: float) -> float:
    spent = sum(d.decision.trial_seconds or 0.0 for d in outcome.tuners[key].done)
    return 100.0 * spent / seconds
