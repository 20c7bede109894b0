"""`specdec run`: the operator itself."""

from __future__ import annotations

import argparse
import asyncio

from specdec.cli.failure import Failure


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from specdec.controllers.settings import add_arguments

    parser = subparsers.add_parser("run", help="run the operator", description=__doc__)
    add_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from specdec.controllers import logs, process, settings
    from specdec.kube.credentials import CredentialsError

    chosen = settings.from_arguments(arguments)
    logs.configure(chosen.log_level, chosen.log_format)
    try:
        asyncio.run(process.run(chosen))
    except CredentialsError as error:
        raise Failure(str(error)) from error
    return 0
