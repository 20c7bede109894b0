"""Rows -> what a reader sees: the table of policies by workloads, each figure with its confidence interval."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev
from typing import Final

from specdec.simulate.rows import Row

# Two-sided 95 % points of Student's t by degrees of freedom, the last for all larger.
STUDENT: Final = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13, 2.12)
STUDENT_LIMIT: Final = 2.0
FEW: Final = 5  # seeds below which an interval says less than the seeds themselves
FIELDS: Final = (
    "tpot_ms",
    "regret_oracle_percent",
    "regret_best_constant_percent",
    "slo_percent",
    "restarts_per_replica_week",
    "seconds_to_within_2_percent",
    "seconds_to_disable",
    "windows_worse_percent",
    "gain_interval_coverage_percent",
)


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean over the `seeds` that have the figure, `of` so many, None where none has it.

    low, high: its 95 % interval; of a FEW seeds their range.
    """

    mean: float | None
    low: float = 0.0
    high: float = 0.0
    seeds: int = 0
    of: int = 0

    @property
    def lacking(self) -> int:
        """Seeds without the figure."""
        return self.of - self.seeds

    def text(self, digits: int = 2) -> str:
        if self.mean is None:
            return "-"
        mean, low, high = (f"{value:.{digits}f}" for value in (self.mean, self.low, self.high))
        some = f"; {self.seeds} of {self.of} seeds" if self.lacking else ""
        if low != high and self.seeds < FEW:
            return f"{mean} ({low} to {high}{some})"
        spread = "" if low == high else f" ± {self.high - self.mean:.{digits}f}"
        return f"{mean}{spread} ({some.removeprefix('; ')})" if some else f"{mean}{spread}"

    def mean_text(self, digits: int = 2) -> str:
        if self.mean is None:
            return "-"
        return f"{self.mean:.{digits}f}" + (f" ({self.seeds} of {self.of})" if self.lacking else "")


def figure(values: Iterable[float | None]) -> Figure:
    """Of the values that are there, beside how many are not."""
    found = list(values)
    known = [v for v in found if v is not None]
    if not known:
        return Figure(None, of=len(found))
    mean = fmean(known)
    if len(known) < FEW:
        return Figure(mean, min(known), max(known), len(known), len(found))
    t = STUDENT[len(known) - 2] if len(known) - 2 < len(STUDENT) else STUDENT_LIMIT
    half = t * stdev(known) / sqrt(len(known))
    return Figure(mean, mean - half, mean + half, len(known), len(found))


def summary(rows: Sequence[Row], policy: str, workload: str, field: str) -> Figure:
    """`field` of one policy on one workload, over seeds."""
    return figure(getattr(r, field) for r in rows if r.policy == policy and r.workload == workload)


def ordered(values: Iterable[str]) -> list[str]:
    """Distinct, in order of appearance."""
    return list(dict.fromkeys(values))


def render(rows: Sequence[Row]) -> str:
    """One block per workload, one line per policy."""
    out = []
    for workload in ordered(row.workload for row in rows):
        out.append(
            f"\n{workload}\n  {'policy':20} {'TPOT ms':>22} {'over oracle %':>24} {'over best K %':>24}"
            f" {'SLO %':>7} {'restarts':>9} {'2 % after s':>16} {'off after s':>16} {'worse %':>9} {'cover %':>14}"
        )
        for policy in ordered(row.policy for row in rows if row.workload == workload):
            cells = [summary(rows, policy, workload, field) for field in FIELDS]
            out.append(
                f"  {policy:20} {cells[0].text():>22} {cells[1].text():>24} {cells[2].text():>24}"
                f" {cells[3].mean_text(1):>7} {cells[4].mean_text(2):>9} {cells[5].mean_text(0):>16}"
                f" {cells[6].mean_text(0):>16} {cells[7].mean_text(3):>9} {cells[8].mean_text(0):>14}"
            )
    return "\n".join(out)
