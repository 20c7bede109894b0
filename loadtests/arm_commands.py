"""`specdec loadtest sweep` and `specdec loadtest peak`: arms against each other, and how much traffic each carries."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress
from rich.table import Table

from loadtests.arms import Arm, ArmError, ByResource, LiveEngines, PausedResource, Resource, Switch, parse_arms
from loadtests.commands import NO_VERDICT, PASSED, judged, options_of, report_command, seeded, targets_of, terminal
from loadtests.console import print_summary
from loadtests.peak import Peak, Search, Trial, Trials, find_peak
from loadtests.plan import load_plan
from loadtests.preflight import TargetError
from loadtests.records import Target
from loadtests.summary import summarise
from loadtests.sweep import Cell, OnCell, Sweep, run_sweep
from loadtests.verdict import parse_condition

TOKEN_VARIABLE: Final = "SPECDEC_CONTROL_TOKEN"  # noqa: S105 - the name of a variable


def sweep_command(arguments: argparse.Namespace) -> int:
    """`specdec loadtest sweep`."""
    console = terminal()
    conditions = [parse_condition(text) for text in arguments.fail_if]
    arms = parse_arms(arguments.arms)
    sweep = Sweep(
        plan=seeded(load_plan(arguments.plan), arguments.seed),
        target=_only_target(arguments),
        arms=arms,
        blocks=arguments.blocks,
        baseline=_baseline(arguments.baseline, arms),
        folder=arguments.out,
    )
    with _cell_bar(sweep, console) as on_cell:
        run_sweep(sweep, switch_of(arguments), options_of(arguments), on_cell=on_cell)
    report_command(arguments)
    summary = summarise(arguments.out)
    print_summary(summary, console)
    return judged(summary, None, conditions, console)


def peak_command(arguments: argparse.Namespace) -> int:
    """`specdec loadtest peak`: per target, or per arm of one target."""
    console = terminal()
    plan = seeded(load_plan(arguments.plan), arguments.seed)
    settings = Search(arguments.low, arguments.high, arguments.precision, arguments.share, arguments.trial_seconds)
    arguments.out.mkdir(parents=True, exist_ok=True)
    found: list[Peak] = []

    def find(target: Target) -> None:
        trials = Trials(plan, target, arguments.out, options_of(arguments), settings)
        found.append(find_peak(trials, lambda trial: _print_trial(target.name, trial, console)))

    if not arguments.arms:
        for target in targets_of(arguments):
            find(target)
    else:
        with switch_of(arguments) as switch:
            for arm in parse_arms(arguments.arms):
                switch.apply(arm)
                find(replace(_only_target(arguments), name=arm.name))
    _print_peaks(found, console)
    return PASSED if all(peak.trustworthy for peak in found) else NO_VERDICT


def switch_of(arguments: argparse.Namespace) -> Switch:
    """From `--engine` and `--resource`. Raises ArmError when neither is given."""
    engines = None
    if arguments.engine:
        api_key = os.environ.get(arguments.api_key_env) if arguments.api_key_env else None
        engines = LiveEngines(tuple(arguments.engine), _control_token(arguments.control_token_file), api_key)
    if not arguments.resource:
        if engines is None:
            raise ArmError("say how to switch arms: --engine URL (live), --resource NAME (kubectl), or both")
        return engines
    resource = Resource(arguments.resource, arguments.namespace, arguments.kubeconfig)
    return ByResource(resource) if engines is None else PausedResource(resource, engines)


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


@contextmanager
def _cell_bar(sweep: Sweep, console: Console) -> Iterator[OnCell]:
    """A bar with the time left on a terminal, a line per cell elsewhere."""
    total = len(list(sweep.cells()))
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), "{task.fields[left]}")
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("sweep", total=total, left="")

        def on_cell(cell: Cell, left: int, seconds: float | None) -> None:
            estimate = "" if seconds is None else f"about {seconds / 60:.1f} min left"
            said = f"block {cell.block + 1}, {cell.arm.name}"
            bar.update(task, completed=total - left, description=said, left=estimate)
            if not console.is_terminal:
                console.print(f"{total - left + 1} of {total}: {said} {estimate}", markup=False)

        yield on_cell


def _print_trial(name: str, trial: Trial, console: Console) -> None:
    outcome = "saturated, stopped early" if trial.saturated else f"{100 * trial.good_share:.1f} % good"
    console.print(f"{name}: {trial.rate:7.2f} req/s: {outcome} -> {'passes' if trial.passed else 'fails'}")


def _print_peaks(peaks: list[Peak], console: Console) -> None:
    table = Table(title="highest rate within the objectives")
    for column in ("arm", "req/s", "against the first", "trials"):
        table.add_column(column, justify="right")
    first = peaks[0].rate
    for peak in peaks:
        rate = "none" if peak.rate is None else f"{peak.rate:.2f}{' or more' if peak.at_limit else ''}"
        change = "" if not first or peak.rate is None else f"{100 * (peak.rate / first - 1):+.0f} %"
        table.add_row(peak.target, rate, change, str(len(peak.trials)))
    console.print(table)
