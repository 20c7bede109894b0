"""`specdec loadtest`: drive OpenAI-compatible endpoints, compare arms, report."""

from __future__ import annotations

import argparse
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
    _add_report(commands)
    _add_check(commands)
    _add_compare(commands)


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


def _add_report(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("report", help="make the report of a run or of a sweep")
    parser.add_argument("out", type=Path, metavar="DIR")
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


def _command(name: str) -> Command:
    """The function of that name in `loadtests.commands`, imported when it is called."""

    def run(arguments: argparse.Namespace) -> int:
        # found, not imported: importing locust would patch the standard library of this process
        missing = [module for module in _NEEDED if importlib.util.find_spec(module) is None]
        if missing:
            raise Failure(
                f"{', '.join(missing)} not installed; load tests are an extra: pip install 'specdec[loadtest]'"
            )
        from loadtests import commands, errors

        try:
            return int(getattr(commands, name)(arguments))
        except errors.KNOWN as error:
            raise Failure(str(error)) from error

    return run
