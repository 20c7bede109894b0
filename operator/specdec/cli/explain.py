"""`specdec explain NAME`: what the tuner has learned of a resource, what each K would yield, and what follows from it.

It reads the checkpoint, which the operator writes with each decision and every ten minutes under traffic, and asks the
tuner's own code. Nothing is changed.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from specdec.cli.cluster import Json, add_flags, ask, condition, named, namespace_of
from specdec.cli.failure import Failure

if TYPE_CHECKING:
    from specdec.kube.client import KubeClient


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("explain", help="show what a decision rests on", description=__doc__)
    add_flags(parser, name=True)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    namespace = namespace_of(arguments)
    stored, config_map = ask(arguments, lambda client: _read(client, namespace, arguments.name))
    console = Console(markup=False, highlight=False)
    tuned = condition(stored, "Tuned")
    console.print(f"now: {tuned.get('reason', 'NotYetMeasured')}: {tuned.get('message', 'no report yet')}")
    for line in explained(stored, config_map, time.time()):
        console.print(line)
    return 0


def explained(stored: Json, config_map: Json | None, now: float) -> list[str]:
    """Lines for people; `config_map` is the resource's checkpoint."""
    from specdec import tuning
    from specdec.api import names
    from specdec.api.resource import SpeculativeDeployment, parse
    from specdec.controllers.accepting import in_words
    from specdec.controllers.checkpoint import CheckpointUnreadable, read
    from specdec.controllers.limits import limits_of
    from specdec.controllers.tick import restored

    resource = parse(stored)
    if not isinstance(resource, SpeculativeDeployment):
        raise Failure("; ".join(map(str, resource)))
    try:
        checkpoint = read(config_map)
    except CheckpointUnreadable as error:
        raise Failure(
            f"the checkpoint {names.checkpoint(resource.name)} cannot be read: {error}. One of a later version is read "
            "by a `specdec` of that version; instead of a damaged one the operator learns anew within minutes."
        ) from error
    if checkpoint.accepted is None:
        return ["the operator has not taken this resource up yet"]
    accepted = checkpoint.accepted
    lines = [f"in force: K {in_words(accepted)} ({accepted.switching}, revision {accepted.revision})"]
    if checkpoint.tuner is None:
        return [*lines, "nothing is learned yet: the checkpoint holds no evidence before the first decision"]
    limits = limits_of(
        resource,
        {},
        pods=0,
        by_restart=accepted.switching == "Restart",
        rolling=False,
        restarts=checkpoint.restarts,
        newest_sample=None,
        now=now,
    )
    # What would be done is the operator's to say, on the condition above: no fleet is looked at here.
    state = restored(resource, checkpoint, now)
    lines += [f"on trial: {tuning.canary_in_words(state.canary)}"] if state.canary is not None else []
    return lines + tuning.explain(state, limits, now).lines(live=False)


async def _read(client: KubeClient, namespace: str, name: str) -> tuple[Json, Json | None]:
    from specdec.api import names
    from specdec.kube import errors
    from specdec.kube.kinds import CONFIG_MAP, Name

    (stored,) = await named(client, namespace, name)
    try:
        return stored, await client.get(CONFIG_MAP, Name(namespace, names.checkpoint(name)))
    except errors.NotFound:
        return stored, None
