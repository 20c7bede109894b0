"""A runc for machines whose root lacks CAP_SYS_RESOURCE: takes that capability, and what needs it, out of each request.

dockerd starts this as its runtime. Without it, the privileged containers in which kind's nodes run cannot be made.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any, Final

LACKING: Final = "CAP_SYS_RESOURCE"
LACKING_BIT: Final = 24
RUNC: Final = "/usr/sbin/runc"


def needed() -> bool:
    """Whether this process, and so any that it starts, lacks the capability."""
    status = Path("/proc/self/status").read_text().splitlines()
    bounding = next(int(line.split()[1], 16) for line in status if line.startswith("CapBnd:"))
    return not bounding >> LACKING_BIT & 1


def reduced(process: dict[str, Any]) -> dict[str, Any]:
    """`process` of an OCI specification without the capability and the limits that only it could raise."""
    sets = process.get("capabilities") or {}
    kept = {name: [one for one in listed or [] if one != LACKING] for name, listed in sets.items()}
    rest = {key: value for key, value in process.items() if key not in {"oomScoreAdj", "rlimits"}}
    return {**rest, "capabilities": kept} if sets else rest


def option(arguments: list[str], *names: str) -> str | None:
    """The value of one of the options `names`, given as `--name value` or `--name=value`."""
    for position, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name in names:
            return value if equals else arguments[position + 1]
    return None


def main(arguments: list[str]) -> None:
    """Rewrite what runc is about to read, then become runc."""
    if {"create", "run"} & set(arguments):
        config = Path(option(arguments, "--bundle", "-b") or ".", "config.json")
        specification = json.loads(config.read_text())
        specification["process"] = reduced(specification["process"])
        config.write_text(json.dumps(specification))
    elif "exec" in arguments and (file := option(arguments, "--process", "-p")):
        Path(file).write_text(json.dumps(reduced(json.loads(Path(file).read_text()))))
    os.execv(RUNC, [RUNC, *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
