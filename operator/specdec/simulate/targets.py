"""The tuner's targets, and how far each result is from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from specdec.simulate.rows import Row
from specdec.simulate.table import Figure, summary


@dataclass(frozen=True, slots=True)
class Target:
    """`policy` on `workload`: `field` at most `bound`, or at least where `at_least`."""

    what: str
    policy: str
    workload: str
    field: str
    bound: float
    at_least: bool = False

    def figure(self, rows: Sequence[Row]) -> Figure:
        return summary(rows, self.policy, self.workload, self.field)

    def met(self, rows: Sequence[Row]) -> bool | None:
        """None where the run has no such figure. A seed in which what should happen never did is a miss."""
        found = self.figure(rows)
        if found.lacking and self.field not in MAY_LACK:
            return False
        if found.mean is None:
            return None
        return found.mean >= self.bound if self.at_least else found.mean <= self.bound


MAY_LACK: Final = ("gain_interval_coverage_percent", "cost_error_percent")  # where nothing was predicted
REGRET: Final = "regret_oracle_percent"
LIVE, STOCK, RESTART = "specdec-live", "specdec-live-stock", "specdec-restart"
TARGETS: Final = (
    Target("live, exact counters: time per token over the oracle, %", LIVE, "steady", REGRET, 0.5),
    Target("live, exact counters, drift", LIVE, "drift", REGRET, 0.7),
    Target("live, stock counters", STOCK, "steady", REGRET, 1.0),
    Target("live, stock counters, drift", STOCK, "drift", REGRET, 1.2),
    Target("by restart: over the hindsight-best constant, %", RESTART, "steady", "regret_best_constant_percent", 0.0),
    Target("by restart, drift", RESTART, "drift", "regret_best_constant_percent", 0.0),
    Target("restarts per replica-week", RESTART, "steady", "restarts_per_replica_week", 0.25),
    Target("restarts per replica-week, drift", RESTART, "drift", "restarts_per_replica_week", 1.0),
    Target("seconds to within 2 %, cold", LIVE, "steady", "seconds_to_within_2_percent", 600.0),
    Target("seconds to within 2 %, after drift", LIVE, "drift", "seconds_to_within_2_percent", 300.0),
    Target("seconds until a mismatched drafter is off", LIVE, "mismatch", "seconds_to_disable", 120.0),
    Target("90 % intervals of the gain cover, %", LIVE, "steady", "gain_interval_coverage_percent", 88.0, True),
    Target("90 % intervals of the gain cover, drift", LIVE, "drift", "gain_interval_coverage_percent", 88.0, True),
    Target("five-minute windows > 1 % worse than untuned, %", LIVE, "steady", "windows_worse_percent", 0.1),
    Target("the same, drift", LIVE, "drift", "windows_worse_percent", 0.1),
    Target("time lost to trials, %", LIVE, "steady", "trial_loss_percent", 0.1),
    Target("error of step time for a K never tried, median %", LIVE, "steady", "cost_error_percent", 3.0),
)
