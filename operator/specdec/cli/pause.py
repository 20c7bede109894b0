"""`specdec pause NAME`: freeze rollouts and tuning of a resource; its status stays fresh. `specdec resume` ends it.

This sets spec.paused on your behalf. Under GitOps set it in the repository, or it is set back.
"""

from __future__ import annotations

import argparse

from specdec.cli.cluster import add_flags, ask, namespace_of

DONE = {True: "paused: nothing is rolled out or tuned until `specdec resume`", False: "resumed"}


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    for word, paused, text in (
        ("pause", True, "freeze rollouts and tuning of a resource"),
        ("resume", False, "go on with what was paused"),
    ):
        parser = subparsers.add_parser(word, help=text, description=__doc__)
        add_flags(parser, name=True)
        parser.set_defaults(run=run, paused=paused)


def run(arguments: argparse.Namespace) -> int:
    from specdec.kube.kinds import RESOURCE, Name

    at = Name(namespace_of(arguments), arguments.name)
    change = {"spec": {"paused": arguments.paused}}
    ask(arguments, lambda client: client.merge(RESOURCE, at, change))
    print(f"{at.name} {DONE[arguments.paused]}")
    return 0
