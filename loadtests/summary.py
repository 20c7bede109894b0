"""From the records of a run to its figures: per target, per phase, per domain, and twin against twin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from loadtests.groups import Group, group, group_dict, observed_tpot
from loadtests.plan import Objectives
from loadtests.records import (
    CounterWindow,
    GeneratorReport,
    RequestRecord,
    RunInfo,
    read_generator,
    read_requests,
    read_rows,
    read_run,
    write_json,
)
from loadtests.sampling import DRAIN, WARMUP
from loadtests.stats import Estimate, as_dict, relative_gain

LATE_SHARE: Final = 0.01
_SEED: Final = 20_260_101


@dataclass(frozen=True, slots=True)
class TargetSummary:
    """late_share: share of the generator's own actions that came late, None when it left no report."""

    name: str
    overall: Group
    phases: dict[str, Group]
    domains: dict[str, Group]
    accepted_length: float | None
    per_position: tuple[float, ...]
    generator: GeneratorReport | None
    late_share: float | None


@dataclass(frozen=True, slots=True)
class Summary:
    """gains: per target other than the baseline, percent less token-weighted TPOT than it; 'overall' and each phase."""

    info: RunInfo
    targets: dict[str, TargetSummary]
    gains: dict[str, dict[str, Estimate | None]]

    @property
    def trustworthy(self) -> bool:
        """Whether every generator was on time; without a generator's report nothing is known against it."""
        return all((t.late_share or 0.0) <= LATE_SHARE for t in self.targets.values())


def summarise(folder: Path) -> Summary:
    """The figures of a run folder. Raises RunFolderError."""
    info = read_run(folder)
    chance = np.random.default_rng(_SEED)
    records = {t.name: [r for r in read_requests(folder, t.name) if not r.warmup] for t in info.targets}
    windows = [w for w in read_rows(folder / "counters.jsonl", CounterWindow) if w.label not in {WARMUP, DRAIN}]
    targets = {
        name: _target(name, rows, info, [w for w in windows if w.target == name], read_generator(folder, name), chance)
        for name, rows in records.items()
    }
    return Summary(info, targets, _gains(info, records, chance))


def write_summary(folder: Path, summary: Summary) -> Path:
    """Write `summary.json` into the folder."""
    path = folder / "summary.json"
    write_json(path, summary_dict(summary))
    return path


def summary_dict(summary: Summary) -> dict[str, Any]:
    """The content of `summary.json`."""
    return {
        "format": summary.info.format,
        "name": summary.info.name,
        "model": summary.info.model,
        "interrupted": summary.info.interrupted,
        "trustworthy": summary.trustworthy,
        "baseline": summary.info.baseline,
        "targets": {name: _target_dict(target) for name, target in summary.targets.items()},
        "tpotGainPercent": {
            name: {part: as_dict(gain) for part, gain in parts.items()} for name, parts in summary.gains.items()
        },
    }


def _target(  # noqa: PLR0917 - one argument per file of the folder
    name: str,
    records: list[RequestRecord],
    info: RunInfo,
    windows: list[CounterWindow],
    generator: GeneratorReport | None,
    chance: np.random.Generator,
) -> TargetSummary:
    objectives = Objectives.model_validate(info.plan.get("objectives", {}))
    spans = phase_seconds(info)
    drafts = sum(w.drafts for w in windows)
    return TargetSummary(
        name=name,
        overall=group(records, sum(spans.values()), objectives, chance),
        phases={
            phase: group([r for r in records if r.phase == phase], span, objectives, chance)
            for phase, span in spans.items()
        },
        domains={
            domain: group([r for r in records if r.domain == domain], sum(spans.values()), objectives, chance)
            for domain in sorted({r.domain for r in records})
        },
        accepted_length=1 + sum(w.accepted_tokens for w in windows) / drafts if drafts else None,
        per_position=_per_position(windows, drafts),
        generator=generator,
        late_share=None if generator is None else late_share(generator),
    )


def phase_seconds(info: RunInfo) -> Mapping[str, float]:
    """Seconds of each phase that count, warm-up taken off; phases of one name (blocks of a sweep) are added up."""
    warmup, begun = float(info.plan.get("warmupSeconds", 0.0)), 0.0
    spans: dict[str, float] = {}
    for phase in info.plan["phases"]:
        end = begun + float(phase["seconds"])
        counted = phase.get("countedSeconds", end - max(begun, warmup))
        if counted > 0:
            spans[str(phase["name"])] = spans.get(str(phase["name"]), 0.0) + counted
        begun = end
    return spans


def _per_position(windows: list[CounterWindow], drafts: float) -> tuple[float, ...]:
    if not drafts:
        return ()
    shares = [sum(column) / drafts for column in zip(*(w.accepted_per_position for w in windows), strict=True)]
    while shares and shares[-1] == 0:  # beyond K nothing was drafted: not observed, rather than never accepted
        shares.pop()
    return tuple(shares)


def late_share(report: GeneratorReport) -> float:
    """Share of the generator's own actions that came late, 0 to 1: wake-ups or planned sends, whichever is worse."""
    return max(report.late_beats / max(report.beats, 1), report.late_sends / max(report.sends, 1))


def _gains(
    info: RunInfo, records: Mapping[str, list[RequestRecord]], chance: np.random.Generator
) -> dict[str, dict[str, Estimate | None]]:
    if info.baseline is None:
        return {}
    base = records[info.baseline]

    def gain(rows: list[RequestRecord], phase: str | None) -> Estimate | None:
        sides = [[r for r in side if phase in {None, r.phase}] for side in (rows, base)]
        return relative_gain(observed_tpot(sides[0]), observed_tpot(sides[1]), chance)

    parts: list[str | None] = [None, *phase_seconds(info)]
    return {
        name: {part or "overall": gain(rows, part) for part in parts}
        for name, rows in records.items()
        if name != info.baseline
    }


def _target_dict(target: TargetSummary) -> dict[str, Any]:
    return {
        "overall": group_dict(target.overall),
        "phases": {name: group_dict(part) for name, part in target.phases.items()},
        "domains": {name: group_dict(part) for name, part in target.domains.items()},
        "meanAcceptedLength": target.accepted_length,
        "perPositionAcceptance": [round(share, 4) for share in target.per_position],
        "generatorLateShare": target.late_share,
    }
