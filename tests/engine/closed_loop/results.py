"""The results of finished blocks, kept in a file of JSON lines: a run that was cut off goes on where it stopped."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from tests.engine.closed_loop.phases import Block, PhaseResult, Settings

RESULTS: Final = Path(__file__).with_name("results.jsonl")


def read(file: Path, phase_seconds: float) -> list[PhaseResult]:
    """Results of all phases that were `phase_seconds` long."""
    lines = file.read_text().splitlines() if file.exists() else ()
    found = (PhaseResult(**fields | {"ks": tuple(map(tuple, fields["ks"]))}) for fields in map(json.loads, lines))
    return [result for result in found if result.phase_seconds == phase_seconds]


def append(file: Path, results: Iterable[PhaseResult]) -> None:
    """A whole block in one write: half a block is worth nothing, because Auto learns in the course of it."""
    with file.open("a") as out:
        out.write("".join(json.dumps(asdict(result)) + "\n" for result in results))


def missing(results: Sequence[PhaseResult], settings: Settings) -> list[Block]:
    """Blocks of `settings` that are still to be run, in their order."""
    phases = Counter((result.round, result.arm) for result in results)
    return [
        block
        for block in settings.blocks()
        if any(phases[block.round, arm] < len(settings.phases) for arm in block.arms)
    ]
