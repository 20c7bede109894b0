"""What a load test shows in the terminal: progress while it runs, a table and its caveats at the end."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from loadtests.failures import REMEDY, Kind
from loadtests.generator.job import Progress as Report
from loadtests.groups import Group
from loadtests.plan import Plan
from loadtests.summary import LATE_SHARE, Summary
from loadtests.verdict import Comparison, Finding, show


class LiveProgress:
    """A bar per target on a terminal, a line per target every ten seconds elsewhere."""

    def __init__(self, plan: Plan, console: Console) -> None:
        self._plan, self._console = plan, console
        self._bars = Progress(
            TextColumn("{task.description:12}"),
            BarColumn(bar_width=24),
            TimeRemainingColumn(),
            TextColumn("{task.fields[said]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, target: str, report: Report) -> None:
        phase = self._plan.phase_at(report.t)
        name = "drain" if phase is None else self._plan.phases[phase].name
        said = f"{name}: {report.done} done, {report.in_flight} in flight, {report.failed} failed"
        if report.late_share > LATE_SHARE:
            said += f", generator {100 * report.late_share:.1f} % late"
        if target not in self._tasks:
            self._tasks[target] = self._bars.add_task(target, total=self._plan.seconds, said=said)
        self._bars.update(self._tasks[target], completed=min(report.t, self._plan.seconds), said=said)
        if not self._console.is_terminal and time.monotonic() - self._said.get(target, 0.0) > 10:
            self._said[target] = time.monotonic()
            self._console.print(f"{report.t:6.0f} s of {self._plan.seconds:.0f}  {target}: {said}")


def print_summary(summary: Summary, console: Console) -> None:
    """The figures per target and phase, then what went wrong, each kind explained once."""
    table = Table(title=summary.info.name)
    for column in ("target", "phase"):
        table.add_column(column)
    for column in ("requests", "failed", "tok/s", "TPOT ms", "TTFT p95", "good", "TPOT saved"):
        table.add_column(column, justify="right")
    for name, target in summary.targets.items():
        gains = summary.gains.get(name, {})
        for phase, group in target.phases.items():
            table.add_row(name, phase, *_cells(group), _gain(gains.get(phase)))
        table.add_row(name, "all", *_cells(target.overall), _gain(gains.get("overall")), style="bold", end_section=True)
    console.print(table)
    for name, target in summary.targets.items():
        for kind, number in target.overall.failed.items():
            console.print(f"{name}: {number} x {kind}: {REMEDY[Kind(kind)]}")
    if not summary.trustworthy:
        worst = max(target.late_share or 0.0 for target in summary.targets.values())
        console.print(
            f"[bold]The generator was the bottleneck:[/] {100 * worst:.1f} % of its actions were late. No verdict."
        )


def print_findings(findings: list[Finding], console: Console) -> None:
    for finding in findings:
        mark = "[red]FAIL[/]" if finding.failed else "[green]ok[/]  "
        console.print(f"{mark} {finding.condition}: {finding.statement}")


def print_comparisons(comparisons: list[Comparison], console: Console) -> None:
    table = Table(title="new run against old run")
    for column in ("target", "figure", "new", "old", "change", "statement"):
        table.add_column(column)
    for row in comparisons:
        cells = [show(value, row.metric.unit) if value else "-" for value in (row.new, row.old)]
        change = show(row.change, "%") if row.change else "-"
        table.add_row(row.target, row.metric.title, *cells, change, row.statement)
    console.print(table)


def _cells(group: Group) -> tuple[str, ...]:
    ttft, good = group.percentiles["ttft"]["p95"], group.good_share
    return (
        str(group.requests),
        str(group.failures),
        f"{group.tokens_per_second.value:.0f}",
        f"{group.tpot_ms.value:.2f}" if group.tpot_ms else "-",
        f"{ttft.value:.0f}" if ttft else "-",
        f"{100 * good.value:.0f} %" if good else "-",
    )


def _gain(gain: object) -> str:
    value, low, high = (getattr(gain, name, None) for name in ("value", "low", "high"))
    if value is None:
        return ""
    return f"{value:+.1f} %" if low is None else f"{value:+.1f} % ({low:+.1f} to {high:+.1f})"
