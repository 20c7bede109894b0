"""`specdec history NAME`: the last ten decisions, what each promised and what came of it."""

from __future__ import annotations

import argparse
from typing import Any

from specdec.cli.cluster import add_flags, ask, named, namespace_of


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("history", help="show the last decisions and their verdicts", description=__doc__)
    add_flags(parser, name=True)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.table import Table

    namespace = namespace_of(arguments)
    (found,) = ask(arguments, lambda client: named(client, namespace, arguments.name))
    entries = found.get("status", {}).get("history", [])
    console = Console(markup=False)
    if not entries:
        console.print(f"{arguments.name} runs with what its spec says; nothing was decided yet")
        return 0
    table = Table("TIME", "FROM", "TO", "REASON", "PREDICTED", "REALISED", "VERDICT", box=None, pad_edge=False)
    for entry in entries:
        gains = (_percent(entry.get("predictedGainPercent")), _percent(entry.get("realisedGainPercent")))
        table.add_row(entry["time"], entry["from"], entry["to"], entry["reason"], *gains, entry.get("verdict") or "-")
    console.print(table)
    return 0


def _percent(value: Any) -> str:
    return "-" if value is None else f"{value:+d}%"
