"""The `specdec` command, also `kubectl specdec`.

Every module of this package that has a function `add(subparsers)` is a subcommand: it adds its parser and names what
runs with `parser.set_defaults(run=...)`, a function from the parsed arguments to an exit status. Modules keep their
heavy imports inside that function, because all of them are imported for each call.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Sequence
from types import ModuleType

import specdec.cli
from specdec.cli.failure import Failure


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, run, and turn what a user can mend into one line on stderr; returns the exit status."""
    parsed = parser().parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except Failure as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """The parser with all subcommands."""
    root = argparse.ArgumentParser(
        prog="specdec", description="Speculative decoding on Kubernetes, tuned while it runs."
    )
    subparsers = root.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in commands():
        module.add(subparsers)
    return root


def commands() -> list[ModuleType]:
    """The modules that are subcommands, by name."""
    found = [importlib.import_module(f"{specdec.cli.__name__}.{info.name}") for info in _modules()]
    return [module for module in found if hasattr(module, "add")]


def _modules() -> list[pkgutil.ModuleInfo]:
    return sorted(
        (info for info in pkgutil.iter_modules(specdec.cli.__path__) if info.name != "main"), key=lambda i: i.name
    )


if __name__ == "__main__":
    sys.exit(main())
