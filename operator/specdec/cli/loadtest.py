"""`specdec loadtest`: drive OpenAI-compatible endpoints, compare arms, report."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

from specdec.cli.failure import Failure

_NEEDED: Final = ("loadtests", "locust", "matplotlib", "jinja2")
Command: TypeAlias = Callable[[argparse.Namespace], int]


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("loadtest", help="load tests with locust", description=__doc__)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_run(commands)
    _add_worker(commands)
    _add_sweep(commands)
    _add_peak(commands)
    _add_report(commands)
    _add_check(commands)
    _add_compare(commands)
    _add_selftest(commands)


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("run", help="run a plan against one or more targets at once")
    _add_targets(parser)
    parser.add_argument("--plan", type=Path, required=True, metavar="FILE", help="what to send and when (YAML)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results; must be new")
    parser.add_argument("--baseline", metavar="NAME", help="the target that the others are compared with")
    parser.add_argument("--seed", type=int, help="instead of the plan's")
    parser.add_argument("--no-report", dest="report", action="store_false", help="records and summary only")
    parser.add_argument("--expect-workers", type=int, default=0, metavar="N", help="lead N workers (distributed)")
    parser.add_argument("--bind-port", type=int, default=5557, metavar="PORT", help="where workers connect to")
    _add_watch(parser)
    _add_price(parser)
    _add_conditions(parser)
    parser.set_defaults(run=_command("run_command"))


def _add_targets(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--target", action="append", required=True, metavar="NAME=URL", help="an endpoint; repeat for twins"
    )
    parser.add_argument(
        "--metrics", action="append", default=[], metavar="NAME=URL", help="a metrics page of its engines; repeatable"
    )
    parser.add_argument("--api-key-env", metavar="VARIABLE", help="environment variable that holds the API key")
    parser.add_argument("--ca-file", metavar="FILE", help="certificate of the authority that signed the servers'")
    parser.add_argument("--insecure", action="store_true", help="do not check certificates")
    parser.add_argument("--wait-ready", type=float, default=0.0, metavar="SECONDS", help="wait for targets that start")


def _add_watch(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("events", "changes of K and restarts on the time axis, seen by kubectl")
    group.add_argument(
        "--watch", action="append", default=[], metavar="TARGET=NAME", help="the SpeculativeDeployment behind a target"
    )
    _add_place(group)


def _add_place(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--namespace", "-n", default="default", help="of the SpeculativeDeployment")
    group.add_argument("--kubeconfig", metavar="FILE", help="else kubectl's own choice")


def _add_price(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--gpu-hour-price", type=float, metavar="PRICE", help="adds the cost per million tokens")
    parser.add_argument("--gpus", type=int, default=1, metavar="N", help="GPUs per target (default %(default)s)")
    parser.add_argument("--currency", default="USD", help="of the price (default %(default)s)")


def _add_conditions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--fail-if", action="append", default=[], metavar="CONDITION", help="e.g. 'p95 tpot > 40ms'; repeatable"
    )
    parser.add_argument("--against", type=Path, metavar="DIR", help="the run that '... of other' refers to")


def _add_worker(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("worker", help="generate load for a master (distributed)")
    parser.add_argument("--master", required=True, metavar="HOST")
    parser.add_argument("--port", type=int, default=5557)
    parser.set_defaults(run=_command("worker_command"))


def _add_sweep(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("sweep", help="K = 0..7, schedules and Auto against each other, in blocks")
    _add_targets(parser)
    _add_switch(parser)
    parser.add_argument("--arms", default="0-7", help="e.g. 0-7,auto,mine=schedule.json (default %(default)s)")
    parser.add_argument("--plan", type=Path, required=True, metavar="FILE", help="what each arm does in each block")
    parser.add_argument("--blocks", type=_count, default=5, metavar="N", help="how often each arm runs")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="results; an unfinished sweep goes on")
    parser.add_argument("--baseline", metavar="ARM", help="what others are compared with (K0 where it is an arm)")
    parser.add_argument("--seed", type=int, help="instead of the plan's")
    _add_price(parser)
    _add_conditions(parser)
    parser.set_defaults(run=_command("sweep_command", "arm_commands"), expect_workers=0, bind_port=5557, watch=[])


def _add_peak(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("peak", help="the highest rate at which the objectives are met")
    _add_targets(parser)
    _add_switch(parser)
    parser.add_argument("--arms", help="search once per arm of one target")
    parser.add_argument("--plan", type=Path, required=True, metavar="FILE", help="its first phase is what is sent")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="results; an unfinished search goes on")
    parser.add_argument("--share", type=float, default=0.95, help="of requests that must be good (default %(default)s)")
    parser.add_argument("--low", type=float, default=0.5, metavar="RATE", help="requests per second to begin with")
    parser.add_argument("--high", type=float, default=512.0, metavar="RATE", help="no higher (default %(default)g)")
    parser.add_argument(
        "--precision", type=float, default=0.05, metavar="SHARE", help="of the rate (default %(default)s)"
    )
    parser.add_argument("--trial-seconds", type=float, default=60.0, metavar="SECONDS", help="after the warm-up")
    parser.add_argument("--seed", type=int, help="instead of the plan's")
    parser.add_argument("--baseline", metavar="NAME", help="the arm or target that others are compared with")
    parser.set_defaults(run=_command("peak_command", "arm_commands"), expect_workers=0, bind_port=5557, watch=[])
    parser.set_defaults(gpu_hour_price=None, gpus=1, currency="USD")


def _count(text: str) -> int:
    """Raises what argparse turns into an error of usage."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1")
    return number


def _add_switch(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how arms are switched", "live at the engines, by kubectl, or live while paused")
    group.add_argument("--engine", action="append", default=[], metavar="URL", help="an engine's own URL; repeatable")
    group.add_argument(
        "--control-token-file", type=Path, metavar="FILE", help="else the variable SPECDEC_CONTROL_TOKEN is read"
    )
    group.add_argument("--resource", metavar="NAME", help="the SpeculativeDeployment; its changes become events")
    _add_place(group)


def _add_report(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("report", help="make the report of a run or of a sweep")
    parser.add_argument("out", type=Path, metavar="DIR")
    _add_price(parser)
    parser.set_defaults(run=_command("report_command"))


def _add_check(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("check", help="conditions on a run that is over")
    parser.add_argument("out", type=Path, metavar="DIR")
    _add_conditions(parser)
    parser.set_defaults(run=_command("check_command"))


def _add_compare(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("compare", help="two runs, figure by figure, with significance")
    parser.add_argument("new", type=Path, metavar="NEW")
    parser.add_argument("old", type=Path, metavar="OLD")
    parser.set_defaults(run=_command("compare_command"))


def _add_selftest(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("selftest", help="measure a server whose latencies are known")
    parser.add_argument("--seconds", type=float, default=12.0, help="length of the run (default %(default)s)")
    parser.set_defaults(run=_command("selftest_command"))


def _command(name: str, module: str = "commands") -> Command:
    """The function of that name in a module of `loadtests`, imported when it is called."""

    def run(arguments: argparse.Namespace) -> int:
        # found, not imported: importing locust would patch the standard library of this process
        missing = [needed for needed in _NEEDED if importlib.util.find_spec(needed) is None]
        if missing:
            raise Failure(
                f"{', '.join(missing)} not installed; load tests are an extra: pip install '.[loadtest]' "
                "in a checkout of this project"
            )
        from loadtests import errors

        try:
            return int(getattr(importlib.import_module(f"loadtests.{module}"), name)(arguments))
        except errors.KNOWN as error:
            raise Failure(str(error)) from error

    return run
