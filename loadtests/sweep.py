"""Arms against each other on one target, fairly: the same requests for each, in blocks, in an order drawn per block.

A slow drift of the machine hits all arms of a block alike, and figures are paired by block. Each (block, arm) is a
small run of its own in `cells/`; a sweep that was cut off goes on with the cells that are missing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, Final, TypeAlias

from loadtests.arms import Arm
from loadtests.broken import nothing_succeeded
from loadtests.failures import GO_ON
from loadtests.plan import Plan
from loadtests.preflight import TargetError
from loadtests.records import (
    CounterWindow,
    Event,
    GeneratorReport,
    RequestRecord,
    RunInfo,
    Sample,
    Target,
    claim,
    read_generator,
    read_requests,
    read_rows,
    read_run,
    requests_file,
    write_json,
    write_rows,
    write_run,
)
from loadtests.run import OnProgress, Options, run
from loadtests.switching import Switch

DONE: Final = "done.json"
STATE: Final = "sweep.json"
KEEPSAKE: Final = "before.json"


@dataclass(frozen=True, slots=True)
class Cell:
    """One arm in one block."""

    block: int
    arm: Arm

    @property
    def name(self) -> str:
        return f"{self.block:03d}-{self.arm.name}"


@dataclass(frozen=True, slots=True)
class Sweep:
    """plan: of one cell; its warm-up is what the engine gets to settle after a switch. Block n draws with seed + n."""

    plan: Plan
    target: Target
    arms: tuple[Arm, ...]
    blocks: int
    baseline: str
    folder: Path

    def cells(self) -> Iterator[Cell]:
        for block in range(self.blocks):
            order = list(self.arms)
            Random(f"{self.plan.seed}/{block}/arms").shuffle(order)
            yield from (Cell(block, arm) for arm in order)

    def folder_of(self, cell: Cell) -> Path:
        return self.folder / "cells" / cell.name

    def state(self) -> dict[str, Any]:
        """What must be the same for a sweep to go on in its folder."""
        return {
            "plan": self.plan.model_dump(mode="json", by_alias=True, exclude_none=True),
            "arms": [asdict(arm) for arm in self.arms],
            "blocks": self.blocks,
            "url": self.target.url,
        }

    def missing(self) -> list[Cell]:
        """What is still to be done, in order."""
        return [cell for cell in self.cells() if not (self.folder_of(cell) / DONE).exists()]

    def unrestored(self) -> bool:
        """Whether an earlier run was killed, or failed, before it had put back what was in force."""
        return (self.folder / KEEPSAKE).exists()


OnCell: TypeAlias = Callable[[Cell, int], None]


def run_sweep(
    sweep: Sweep,
    switch: Switch,
    options: Options,
    *,
    on_cell: OnCell | None = None,
    on_progress: OnProgress | None = None,
) -> RunInfo:
    """Run what is missing, put back what was in force before and merge all into one run folder, its targets the arms.

    on_cell: called before each cell with the number of cells left, this one included.
    Raises RunFolderError when the folder holds another sweep, TargetError when every request of a cell failed.
    """
    claim(sweep.folder / STATE, sweep.state(), f"cells/*/{DONE}")
    left = sweep.missing()
    if left or sweep.unrestored():
        with switch:
            for number, cell in enumerate(left):
                if on_cell:
                    on_cell(cell, len(left) - number)
                if _run_cell(sweep, cell, switch, options, on_progress).interrupted:
                    raise KeyboardInterrupt
    return merge(sweep)


def _run_cell(sweep: Sweep, cell: Cell, switch: Switch, options: Options, on_progress: OnProgress | None) -> RunInfo:
    folder = sweep.folder_of(cell)
    shutil.rmtree(folder, ignore_errors=True)
    switch.apply(cell.arm)
    plan = sweep.plan.model_copy(update={"seed": sweep.plan.seed + cell.block})
    target = replace(sweep.target, name=cell.arm.name)
    watched = options.resources.get(sweep.target.name)
    told = replace(options, baseline=None, resources={cell.arm.name: watched} if watched else {})
    info = run(plan, [target], folder, told, on_progress=on_progress)
    if not info.interrupted:
        switch.confirm(cell.arm)
        if wrong := nothing_succeeded(read_requests(folder, cell.arm.name)):
            raise TargetError(f"block {cell.block + 1}, {cell.arm.name}: {wrong}\n       {GO_ON}")
        write_json(folder / DONE, {"arm": cell.arm.name, "block": cell.block})
    return info


def merge(sweep: Sweep) -> RunInfo:
    """All cells as one run in the sweep's folder: block n of every arm lies at the same place on the time axis."""
    infos = {}
    for arm in sweep.arms:
        cells = [cell for cell in sweep.cells() if cell.arm.name == arm.name]
        requests_file(sweep.folder, arm.name).unlink(missing_ok=True)
        for cell in sorted(cells, key=lambda cell: cell.block):
            infos[cell.name] = read_run(sweep.folder_of(cell))
            offset = cell.block * sweep.plan.seconds
            write_rows(requests_file(sweep.folder, arm.name), _shifted(sweep.folder_of(cell), cell, offset))
        reports = [r for cell in cells if (r := read_generator(sweep.folder_of(cell), arm.name))]
        if reports:
            write_json(sweep.folder / f"generator-{arm.name}.json", _added(reports))
    _merge_rows(sweep)
    first = min(infos.values(), key=lambda info: info.started_at)
    info = RunInfo(
        name=f"{sweep.plan.name}: {len(sweep.arms)} arms in {sweep.blocks} blocks",
        started_at=first.started_at,
        targets=tuple(replace(sweep.target, name=arm.name) for arm in sweep.arms),
        plan=_merged_plan(sweep),
        model=first.model,
        baseline=sweep.baseline,
    )
    write_run(sweep.folder, info)
    return info


def _shifted(folder: Path, cell: Cell, offset: float) -> Iterator[RequestRecord]:
    for record in read_requests(folder, cell.arm.name):
        yield replace(record, key=f"{cell.block}/{record.key}", at=round(record.at + offset, 4))


def _merge_rows(sweep: Sweep) -> None:
    for name in ("series.jsonl", "counters.jsonl", "events.jsonl"):
        (sweep.folder / name).unlink(missing_ok=True)
    for cell in sweep.cells():
        folder, offset = sweep.folder_of(cell), cell.block * sweep.plan.seconds
        samples = [s for s in read_rows(folder / "series.jsonl", Sample) if s.t <= sweep.plan.seconds]
        write_rows(sweep.folder / "series.jsonl", [replace(s, t=round(s.t + offset, 3)) for s in samples])
        windows = read_rows(folder / "counters.jsonl", CounterWindow)
        shifted = [replace(w, start=w.start + offset, end=w.end + offset) for w in windows]
        write_rows(sweep.folder / "counters.jsonl", shifted)
        events = [e for e in read_rows(folder / "events.jsonl", Event) if e.t <= sweep.plan.seconds]
        write_rows(sweep.folder / "events.jsonl", [replace(e, t=round(e.t + offset, 3)) for e in events])


def _added(reports: Sequence[GeneratorReport]) -> dict[str, Any]:
    summed = ("beats", "late_beats", "sends", "late_sends", "cpu_seconds", "seconds")
    return {
        **{name: sum(getattr(report, name) for report in reports) for name in summed},
        **{name: max(getattr(report, name) for report in reports) for name in ("worst_ms", "memory_mib")},
    }


def _merged_plan(sweep: Sweep) -> dict[str, Any]:
    """The plan of a cell with its phases repeated for each block.

    `countedSeconds` leaves out each block's warm-up, `blockSeconds` says where a block ends.
    """
    content = sweep.plan.model_dump(mode="json", by_alias=True, exclude_none=True)
    starts = sweep.plan.starts()
    phases = []
    for phase, start in zip(content["phases"], starts, strict=True):
        end = start + phase["seconds"]
        phases.append({**phase, "countedSeconds": max(0.0, end - max(start, sweep.plan.warmup_seconds))})
    return {**content, "warmupSeconds": 0.0, "phases": phases * sweep.blocks, "blockSeconds": sweep.plan.seconds}
