"""What the subcommands of `specdec loadtest` do with their arguments; returns exit statuses.

| status | meaning |
|---|---|
| 0 | done, no condition held |
| 1 | could not start or finish: bad plan, unreachable target, dead generator |
| 3 | a `--fail-if` condition held |
| 4 | no verdict: the generator was late more than 1 % of the time |
| 5 | every request of a target failed |
| 130 | interrupted; what was recorded is kept and reported |
"""

from __future__ import annotations

import argparse
import signal
import tempfile
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from loadtests.console import LiveProgress, print_comparisons, print_findings, print_summary
from loadtests.plan import Plan, load_plan
from loadtests.preflight import TargetError
from loadtests.records import Target
from loadtests.resource import Resource
from loadtests.run import Options, run
from loadtests.summary import LATE_SHARE, Summary, summarise, write_summary
from loadtests.verdict import Condition, compare, judge, parse_condition

PASSED: Final = 0
FAILED: Final = 3
NO_VERDICT: Final = 4
ALL_FAILED: Final = 5
INTERRUPTED: Final = 130


def end_as_by_ctrl_c() -> None:
    """Being told to end (a Job that is deleted, a timeout) keeps what was recorded and puts back what was switched."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def terminal() -> Console:
    """Standard output; wide enough for the tables where it is a file or a log."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=150)


def targets_of(arguments: argparse.Namespace) -> list[Target]:
    """From `--target NAME=URL` and `--metrics NAME=URL`. Raises TargetError."""
    urls = dict(_named(text, "--target") for text in arguments.target)
    pages: dict[str, list[str]] = {name: [] for name in urls}
    for text in arguments.metrics:
        name, url = _named(text, "--metrics")
        if name not in pages:
            raise TargetError(f"--metrics names {name!r}, which is no --target")
        pages[name].append(url)
    return [Target(name, url, tuple(pages[name])) for name, url in urls.items()]


def options_of(arguments: argparse.Namespace) -> Options:
    return Options(
        api_key_env=arguments.api_key_env,
        ca_file=arguments.ca_file,
        insecure=arguments.insecure,
        baseline=arguments.baseline,
        wait_ready_seconds=arguments.wait_ready,
        expect_workers=arguments.expect_workers,
        bind_port=arguments.bind_port,
        resources={
            target: Resource(name, arguments.namespace, arguments.kubeconfig)
            for target, name in (_named(text, "--watch") for text in arguments.watch)
        },
    )


def run_command(arguments: argparse.Namespace) -> int:
    """`specdec loadtest run`."""
    end_as_by_ctrl_c()
    console = terminal()
    conditions = [parse_condition(text) for text in arguments.fail_if]  # a typo should not cost a whole run
    other = summarise(arguments.against) if arguments.against else None
    plan = seeded(load_plan(arguments.plan), arguments.seed)
    with LiveProgress(plan, console) as progress:
        info = run(plan, targets_of(arguments), arguments.out, options_of(arguments), on_progress=progress)
    summary = summarise(arguments.out)
    write_summary(arguments.out, summary)
    print_summary(summary, console)
    if arguments.report:
        report_command(arguments)
    if info.interrupted:
        return INTERRUPTED
    if any(t.overall.requests and t.overall.failures == t.overall.requests for t in summary.targets.values()):
        return ALL_FAILED
    return judged(summary, other, conditions, console)


def report_command(arguments: argparse.Namespace) -> int:
    """`specdec loadtest report`."""
    from loadtests.peak import RESULT
    from loadtests.report import Price, build_peak_report, build_report

    price = None
    if arguments.gpu_hour_price is not None:
        price = Price(arguments.gpu_hour_price, arguments.gpus, arguments.currency)
    if (arguments.out / RESULT).exists():
        print(f"report: {build_peak_report(arguments.out).html}")
    else:
        print(f"report: {build_report(arguments.out, price).html}")
    return PASSED


def check_command(arguments: argparse.Namespace) -> int:
    """`specdec loadtest check`: conditions on a run that is over."""
    other = summarise(arguments.against) if arguments.against else None
    conditions = [parse_condition(text) for text in arguments.fail_if]
    return judged(summarise(arguments.out), other, conditions, terminal())


def compare_command(arguments: argparse.Namespace) -> int:
    """`specdec loadtest compare NEW OLD`."""
    console = terminal()
    new, old = summarise(arguments.new), summarise(arguments.old)
    print_comparisons(compare(new, old), console)
    if new.trustworthy and old.trustworthy:
        return PASSED
    console.print("No verdict: a generator was late more than 1 % of the time.")
    return NO_VERDICT


def worker_command(arguments: argparse.Namespace) -> int:
    """`specdec loadtest worker`: becomes a generator process, so that locust patches nothing of ours."""
    import os
    import sys

    command = [sys.executable, "-m", "loadtests.generator", "worker", arguments.master, str(arguments.port)]
    os.execv(sys.executable, command)  # noqa: S606 - our own interpreter and module


def selftest_command(arguments: argparse.Namespace) -> int:
    """`specdec loadtest selftest`."""
    from loadtests.selftest import TOLERANCE, self_test

    console = terminal()
    with tempfile.TemporaryDirectory() as folder:
        found = self_test(Path(folder), arguments.seconds)
    table = Table(title=f"{found.requests} requests, {found.failed} failed, {100 * found.late_share:.2f} % late")
    for column in ("percentile", "measured ms", "true ms", "error"):
        table.add_column(column, justify="right")
    for row in found.readings:
        name = f"p{row.percent} {row.metric.removesuffix('_ms')}"
        table.add_row(name, f"{row.measured:.2f}", f"{row.true:.2f}", f"{100 * row.error:+.2f} %")
    console.print(table)
    if found.late_share > LATE_SHARE:
        console.print("No verdict: the generator was late more than 1 % of the time; this machine is too busy.")
        return NO_VERDICT
    console.print(f"largest error {100 * found.worst:.2f} %, allowed {100 * TOLERANCE:g} %")
    return PASSED if found.passed else FAILED


def seeded(plan: Plan, seed: int | None) -> Plan:
    return plan if seed is None else plan.model_copy(update={"seed": seed})


def judged(summary: Summary, other: Summary | None, conditions: list[Condition], console: Console) -> int:
    if not conditions:
        return PASSED
    if not summary.trustworthy or (other is not None and not other.trustworthy):
        console.print("No verdict: a generator was late more than 1 % of the time. Use fewer targets or more workers.")
        return NO_VERDICT
    findings = judge(conditions, summary, other)
    print_findings(findings, console)
    return FAILED if any(finding.failed for finding in findings) else PASSED


def _named(text: str, option: str) -> tuple[str, str]:
    form = "TARGET=NAME" if option == "--watch" else "NAME=URL, for example auto=http://localhost:8000"
    name, equals, url = text.partition("=")
    if not equals or not name or not url:
        raise TargetError(f"{option} {text!r} must be {form}")
    if not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise TargetError(
            f"{option} {text!r}: use letters, digits, '.', '-' and '_' for the name; it becomes a file name"
        )
    return name, url
