"""`specdec version`."""

from __future__ import annotations

import argparse


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("version", help="print the version", description=__doc__)
    parser.set_defaults(run=run)


def run(_arguments: argparse.Namespace) -> int:
    from specdec import __version__

    print(__version__)
    return 0
