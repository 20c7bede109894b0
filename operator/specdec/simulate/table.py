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
    """A mean over seeds with the half width of its 95 % interval; None where no seed had the figure."""

    mean: float | None
    half_width: float | None

    def text(self, digits: int = 2) -> str:
        if self.mean is None:
            return "-"
        shown = f"{self.mean:.{digits}f}"
        return shown if self.half_width is None else f"{shown} ± {self.half_width:.{digits}f}"


def figure(values: Iterable[float | None]) -> Figure:
    """Mean and half width of the values that are there."""
    known = [v for v in values if v is not None]
    if not known:
        return Figure(None, None)
    if len(known) < 2:
        return Figure(known[0], None)
    t = STUDENT[len(known) - 2] if len(known) - 2 < len(STUDENT) else STUDENT_LIMIT
    return Figure(fmean(known), t * stdev(known) / sqrt(len(known)))


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
            f"\n{workload}\n  {'policy':20} {'TPOT ms':>14} {'over oracle %':>16} {'over best K %':>16}"
            f" {'SLO %':>7} {'restarts':>9} {'2 % after s':>12} {'off after s':>12} {'worse %':>9} {'cover %':>8}"
        )
        for policy in ordered(row.policy for row in rows if row.workload == workload):
            cells = [summary(rows, policy, workload, field) for field in FIELDS]
            out.append(
                f"  {policy:20} {cells[0].text():>14} {cells[1].text():>16} {cells[2].text():>16}"
                f" {_plain(cells[3], 1):>7} {_plain(cells[4], 2):>9} {_plain(cells[5], 0):>12}"
                f" {_plain(cells[6], 0):>12} {_plain(cells[7], 3):>9} {_plain(cells[8], 0):>8}"
            )
    return "\n".join(out)


def _plain(value: Figure, digits: int) -> str:
    return "-" if value.mean is None else f"{value.mean:.{digits}f}"
