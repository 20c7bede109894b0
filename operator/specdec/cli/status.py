"""`specdec status`: what every resource runs with, what it yields, and why the tuner does what it does."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from specdec.cli.cluster import Json, add_flags, ask, condition, named, namespace_of

if TYPE_CHECKING:
    from rich.table import Table

    from specdec.kube.client import KubeClient

COLUMNS = ("NAMESPACE", "NAME", "READY", "K", "ACCEPTED", "TOK/S", "GAIN", "SWITCHING", "TUNED", "REASON")


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("status", help="show all resources, or one in detail", description=__doc__)
    parser.add_argument("name", nargs="?", help="name of one SpeculativeDeployment, to show its conditions")
    add_flags(parser, name=False)
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="look in every namespace")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table", help="form of the answer")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    namespace = None if arguments.all_namespaces else namespace_of(arguments)
    found = ask(arguments, lambda client: _read(client, namespace, arguments.name))
    if arguments.output == "json":
        print(json.dumps([{"metadata": _identity(body), "status": body.get("status", {})} for body in found], indent=2))
        return 0
    # Messages quote logs, and a log's brackets are no markup.
    console = Console(markup=False)
    if not found:
        console.print("no SpeculativeDeployment here")
        return 0
    console.print(_overview(found))
    if arguments.name:
        for body in found:
            console.print(_conditions(body))
    return 0


async def _read(client: KubeClient, namespace: str | None, name: str | None) -> list[Json]:
    from specdec.kube.kinds import RESOURCE

    if name is not None:
        return await named(client, namespace, name)
    return [body async for page in client.pages(RESOURCE, namespace) for body in page.items]


def _overview(found: list[Json]) -> Table:
    from rich.table import Table

    table = Table(*COLUMNS, box=None, pad_edge=False)
    for body in sorted(found, key=lambda b: (b["metadata"]["namespace"], b["metadata"]["name"])):
        table.add_row(*map(_shown, _row(body)))
    return table


def _row(body: Json) -> tuple[Any, ...]:
    status = body.get("status", {})
    speculation, performance = status.get("speculation", {}), status.get("performance", {})
    length, gain = status.get("acceptance", {}).get("meanAcceptedLength"), performance.get("gainPercent")
    return (
        body["metadata"]["namespace"],
        body["metadata"]["name"],
        f"{status.get('readyReplicas', 0)}/{body['spec'].get('replicas', 1)}",
        speculation.get("numSpeculativeTokens"),
        None if length is None else f"{int(length.removesuffix('m')) / 1000:.2f}",
        performance.get("tokensPerSecond"),
        None if gain is None else f"{gain:+d}%",
        speculation.get("switching"),
        condition(body, "Tuned").get("status"),
        condition(body, "Tuned").get("reason"),
    )


def _conditions(body: Json) -> Table:
    from rich.table import Table

    table = Table("CONDITION", "STATUS", "REASON", "MESSAGE", box=None, pad_edge=False)
    for entry in body.get("status", {}).get("conditions", []):
        table.add_row(entry["type"], entry["status"], entry["reason"], entry["message"])
    return table


def _identity(body: Json) -> Json:
    return {key: body["metadata"][key] for key in ("namespace", "name")}


def _shown(value: Any) -> str:
    return "-" if value is None else str(value)
