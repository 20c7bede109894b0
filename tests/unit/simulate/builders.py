"""A row that names only what a test looks at."""

from __future__ import annotations

from typing import Any

from specdec.simulate.rows import Row


def row(policy: str, workload: str = "steady", seed: int = 1, **figures: Any) -> Row:
    known: dict[str, Any] = {
        "tpot_ms": 10.0,
        "regret_oracle_percent": 0.0,
        "regret_best_constant_percent": 0.0,
        "slo_percent": 100.0,
        "restarts_per_replica_week": 0.0,
        "seconds_to_within_2_percent": 0.0,
        "seconds_to_disable": None,
        "windows_worse_percent": 0.0,
        "gain_interval_coverage_percent": None,
        "moves": None,
        "trials_percent": None,
    }
    return Row(policy=policy, workload=workload, seed=seed, **known | figures)
