"""`specdec loadtest sweep` and `specdec loadtest peak`: arms against each other, and how much traffic each carries."""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress
from rich.table import Table

from loadtests.arms import Arm, ArmError, parse_arms
from loadtests.commands import (
    INTERRUPTED,
    NO_VERDICT,
    PASSED,
    end_as_by_ctrl_c,
    judged,
    options_of,
    report_command,
    seeded,
    targets_of,
    terminal,
)
from loadtests.console import print_summary
from loadtests.generator.job import Progress as Report
from loadtests.keepsake import Keepsake
from loadtests.live import LiveEngines
from loadtests.peak import Peak, Search, Trial, carried
from loadtests.plan import Plan, load_plan
from loadtests.preflight import TargetError
from loadtests.records import Target
from loadtests.resource import Resource
from loadtests.run import Options
from loadtests.summary import summarise
from loadtests.sweep import KEEPSAKE, Cell, Sweep, run_sweep
from loadtests.switching import ByResource, PausedResource, Switch
from loadtests.trials import OnTrial, Trials, find_peaks
from loadtests.verdict import parse_condition
from specdec.engine.patience import Patience

TOKEN_VARIABLE: Final = "SPECDEC_CONTROL_TOKEN"  # noqa: S105 - the name of a variable
GO_ON: Final = "interrupted; what was in force before is in force again, and the same command goes on from here"
_LINE_SECONDS: Final = 30.0


def sweep_command(arguments: argparse.Namespace) -> int:
    """`specdec loadtest sweep`."""
    end_as_by_ctrl_c()
    console = terminal()
    conditions = [parse_condition(text) for text in arguments.fail_if]
    other = summarise(arguments.against) if arguments.against else None
    arms, target = parse_arms(arguments.arms), _only_target(arguments)
    sweep = Sweep(
        plan=seeded(load_plan(arguments.plan), arguments.seed),
        target=target,
        arms=arms,
        blocks=arguments.blocks,
        baseline=_baseline(arguments.baseline, arms),
        folder=arguments.out,
    )
    try:
        with SweepProgress(sweep, console) as progress:
            options = _watched(options_of(arguments), arguments, target)
            run_sweep(sweep, switch_of(arguments, console), options, on_cell=progress.cell, on_progress=progress)
    except KeyboardInterrupt:
        console.print(GO_ON)
        return INTERRUPTED
    report_command(arguments)
    summary = summarise(arguments.out)
    print_summary(summary, console)
    return judged(summary, other, conditions, console)


def peak_command(arguments: argparse.Namespace) -> int:
    """`specdec loadtest peak`: per target, or per arm of one target."""
    end_as_by_ctrl_c()
    console = terminal()
    plan = seeded(load_plan(arguments.plan), arguments.seed)
    settings = Search(arguments.low, arguments.high, arguments.precision, arguments.share, arguments.trial_seconds)
    tell = partial(_print_trial, console)
    try:
        if arguments.arms:
            found = _peak_of_arms(arguments, plan, settings, tell, console)
        else:
            found = _peak_of_targets(arguments, plan, settings, tell)
    except KeyboardInterrupt:
        console.print(GO_ON)
        return INTERRUPTED
    _print_peaks(found, arguments.baseline, console)
    report_command(arguments)
    return PASSED if all(peak.trustworthy for peak in found) else NO_VERDICT


def _peak_of_targets(arguments: argparse.Namespace, plan: Plan, settings: Search, tell: OnTrial) -> list[Peak]:
    targets, options = targets_of(arguments), options_of(arguments)
    if arguments.baseline not in {None, *(target.name for target in targets)}:
        raise TargetError(f"--baseline {arguments.baseline!r} is none of the targets")
    return find_peaks(
        plan, [Trials(plan, t, arguments.out, options, settings) for t in targets], arguments.baseline, tell
    )


def _peak_of_arms(
    arguments: argparse.Namespace, plan: Plan, settings: Search, tell: OnTrial, console: Console
) -> list[Peak]:
    arms, target = parse_arms(arguments.arms), _only_target(arguments)
    baseline = _baseline(arguments.baseline, arms)
    with switch_of(arguments, console) as switch:
        trials = [
            Trials(
                plan,
                replace(target, name=arm.name),
                arguments.out,
                _watched(options_of(arguments), arguments, replace(target, name=arm.name)),
                settings,
                partial(switch.apply, arm),
                partial(switch.confirm, arm),
            )
            for arm in arms
        ]
        return find_peaks(plan, trials, baseline, tell)


def switch_of(arguments: argparse.Namespace, console: Console) -> Switch:
    """From `--engine` and `--resource`; what was in force is kept in the folder. Raises ArmError without either.

    console: told when an engine is waited for.
    """
    if not arguments.engine and not arguments.resource:
        raise ArmError("say how to switch arms: --engine URL (live), --resource NAME (kubectl), or both")
    keepsake = Keepsake(arguments.out / KEEPSAKE)
    if not arguments.engine:
        return ByResource(_resource(arguments), keepsake=keepsake)
    api_key = os.environ.get(arguments.api_key_env) if arguments.api_key_env else None
    token, patience = _control_token(arguments.control_token_file), Patience(partial(console.print, markup=False))
    engines = LiveEngines(tuple(arguments.engine), token, api_key, keepsake, patience)
    return PausedResource(_resource(arguments), engines, keepsake) if arguments.resource else engines


def _resource(arguments: argparse.Namespace) -> Resource:
    return Resource(arguments.resource, arguments.namespace, arguments.kubeconfig)


def _watched(options: Options, arguments: argparse.Namespace, target: Target) -> Options:
    """With the resource's changes among the events of the run."""
    return replace(options, resources={target.name: _resource(arguments)}) if arguments.resource else options


def _control_token(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get(TOKEN_VARIABLE)
    try:
        return file.read_text().strip()
    except OSError as error:
        raise ArmError(f"cannot read the control token: {error}") from error


def _only_target(arguments: argparse.Namespace) -> Target:
    targets = targets_of(arguments)
    if len(targets) != 1:
        raise TargetError("arms are compared on one target; give exactly one --target")
    return targets[0]


def _baseline(wanted: str | None, arms: tuple[Arm, ...]) -> str:
    names = [arm.name for arm in arms]
    if wanted is not None and wanted not in names:
        raise ArmError(f"--baseline {wanted!r} is none of the arms {', '.join(names)}")
    return wanted or ("K0" if "K0" in names else names[0])


class SweepProgress:
    """A bar with the time left on a terminal, a line per cell and now and then one within it elsewhere."""

    def __init__(self, sweep: Sweep, console: Console) -> None:
        self._sweep, self._console = sweep, console
        self._total = len(list(sweep.cells()))
        self._bar = Progress(
            "{task.description:24}",
            BarColumn(bar_width=24),
            "{task.percentage:3.0f} %",
            "{task.fields[left]}",
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("sweep", total=self._total * sweep.plan.seconds, left="")
        self._done = 0
        self._name = ""
        self._began: float | None = None
        self._ran = 0
        self._said = 0.0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._bar.update(self._task, completed=self._total * self._sweep.plan.seconds, left="")
        self._bar.stop()

    def cell(self, cell: Cell, left: int) -> None:
        """A cell begins; left: cells still to do, this one included."""
        self._ran = 0 if self._began is None else self._ran + 1
        self._began = self._began or time.monotonic()
        self._done, self._name = self._total - left, f"block {cell.block + 1}, {cell.arm.name}"
        self._show(0.0, f"{self._done + 1} of {self._total}: {self._name}")

    def __call__(self, _target: str, report: Report) -> None:
        said = f"{report.t:.0f} s, {report.in_flight} in flight, {report.failed} failed"
        self._show(min(max(report.t, 0.0), self._sweep.plan.seconds), said)

    def _show(self, seconds: float, said: str) -> None:
        left = f"about {_duration(self._seconds_left(seconds))} left"
        done = self._done * self._sweep.plan.seconds + seconds
        self._bar.update(self._task, completed=done, description=self._name, left=f"{left} ({said})")
        now = time.monotonic()
        if not self._console.is_terminal and (seconds == 0.0 or now - self._said > _LINE_SECONDS):
            self._said = now
            self._console.print(f"{said}, {left}", markup=False)

    def _seconds_left(self, seconds: float) -> float:
        """By what a cell took so far, switching and draining included; by the plan alone during the first."""
        each = self._sweep.plan.seconds
        if self._ran and self._began is not None:
            each = max(each, (time.monotonic() - self._began - seconds) / self._ran)
        return each * (self._total - self._done) - seconds


def _duration(seconds: float) -> str:
    minutes = max(0.0, seconds) / 60
    return f"{minutes:.0f} min" if minutes >= 2 else f"{max(0.0, seconds):.0f} s"


def _print_trial(console: Console, name: str, rate: float, trial: Trial | None) -> None:
    if trial is None:
        console.print(f"{name}: {rate:7.2f} req/s ...", markup=False)
        return
    share = f"{100 * trial.good_share.value:.1f} % good"
    outcome = f"{share}, stopped early: {trial.stopped}" if trial.stopped else share
    console.print(f"{name}: {rate:7.2f} req/s: {outcome} -> {'passes' if trial.passed else 'fails'}")


def _print_peaks(peaks: list[Peak], baseline: str | None, console: Console) -> None:
    first = next((peak for peak in peaks if peak.name == baseline), peaks[0])
    table = Table(title="highest rate within the objectives")
    for column in ("arm", "req/s", f"traffic against {first.name}", "trials"):
        table.add_column(column, justify="right")
    for peak in peaks:
        rate = "none" if peak.rate is None else f"{peak.rate:.2f}{' or more' if peak.beyond is None else ''}"
        change = None if peak is first else carried(peak, first)
        table.add_row(peak.name, rate, "" if change is None else f"{change.value:+.0f} %", str(len(peak.trials)))
    console.print(table)
    if not all(peak.trustworthy for peak in peaks):
        console.print("No verdict: in a trial the generator was late more than 1 % of the time.")
