"""From the records of a run to its figures: per target, per phase, per domain, and twin against twin."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, Final, TypeAlias

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
from loadtests.stats import Estimate, Span, as_dict, relative_gain, speedup, stratum

Part: TypeAlias = Callable[[RequestRecord], bool]
"""Which requests belong to a part of a run."""

LATE_SHARE: Final = 0.01
_SEED: Final = 20_260_101


@dataclass(frozen=True, slots=True)
class TargetSummary:
    """late_share: share of the generator's own actions that came late, None when it left no report.

    accepted_length, accepted_by_phase, per_position: from the engines' counters; None and empty where none were read.
    """

    name: str
    overall: Group
    phases: dict[str, Group]
    domains: dict[str, Group]
    accepted_length: float | None
    accepted_by_phase: dict[str, float]
    per_position: tuple[float, ...]
    generator: GeneratorReport | None
    late_share: float | None


@dataclass(frozen=True, slots=True)
class Summary:
    """gains: per target other than the baseline, percent less token-weighted TPOT than it; 'overall' and each phase.

    domain_gains: the same by domain.
    """

    info: RunInfo
    targets: dict[str, TargetSummary]
    gains: dict[str, dict[str, Estimate | None]]
    domain_gains: dict[str, dict[str, Estimate | None]]

    @property
    def trustworthy(self) -> bool:
        """Whether every generator was on time; without a generator's report nothing is known against it."""
        return all((t.late_share or 0.0) <= LATE_SHARE for t in self.targets.values())


def summarise(folder: Path) -> Summary:
    """The figures of a run folder. Raises RunFolderError."""
    info = read_run(folder)
    chance = np.random.default_rng(_SEED)
    records = {t.name: list(read_requests(folder, t.name)) for t in info.targets}
    windows = [w for w in read_rows(folder / "counters.jsonl", CounterWindow) if w.label not in {WARMUP, DRAIN}]
    targets = {
        name: _target(name, rows, info, [w for w in windows if w.target == name], read_generator(folder, name), chance)
        for name, rows in records.items()
    }
    counted = {name: [row for row in rows if not row.warmup] for name, rows in records.items()}
    by_phase, by_domain = _by_phase(info), _by_domain(counted)
    return Summary(info, targets, _gains(info, counted, by_phase, chance), _gains(info, counted, by_domain, chance))


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
        "tpotGainPercent": _gains_dict(summary.gains, lambda gain: gain),
        "speedup": _gains_dict(summary.gains, speedup),
        "speedupByDomain": _gains_dict(summary.domain_gains, speedup),
    }


def _gains_dict(
    gains: Mapping[str, Mapping[str, Estimate | None]], told: Callable[[Estimate | None], Estimate | None]
) -> dict[str, Any]:
    return {name: {part: as_dict(told(gain)) for part, gain in parts.items()} for name, parts in gains.items()}


def _target(  # noqa: PLR0917 - one argument per file of the folder
    name: str,
    records: list[RequestRecord],
    info: RunInfo,
    windows: list[CounterWindow],
    generator: GeneratorReport | None,
    chance: np.random.Generator,
) -> TargetSummary:
    objectives = Objectives.model_validate(info.plan.get("objectives", {}))
    spans, closed = phase_spans(info), _closed_phases(info)

    def figures(rows: list[RequestRecord], phases: Iterable[str], domain: str | None = None) -> Group:
        parts = [part for phase in phases for part in spans[phase]]
        return group(
            [row for row in rows if not row.warmup],
            parts,
            objectives,
            chance,
            streaming=[row for row in records if domain in {None, row.domain}],
            closed_loop=not closed.isdisjoint(phases),
            block_seconds=float(info.plan.get("blockSeconds", inf)),
        )

    domains = sorted({r.domain for r in records if not r.warmup})
    labels = {label: [w for w in windows if w.label == label] for label in spans}
    return TargetSummary(
        name=name,
        overall=figures(records, spans),
        phases={phase: figures([r for r in records if r.phase == phase], [phase]) for phase in spans},
        domains={domain: figures([r for r in records if r.domain == domain], spans, domain) for domain in domains},
        accepted_length=_accepted_length(windows),
        accepted_by_phase={k: length for k, rows in labels.items() if (length := _accepted_length(rows)) is not None},
        per_position=_per_position(windows),
        generator=generator,
        late_share=None if generator is None else late_share(generator),
    )


def _closed_phases(info: RunInfo) -> set[str]:
    return {str(phase["name"]) for phase in info.plan["phases"] if phase["load"].get("users")}


def _accepted_length(windows: list[CounterWindow]) -> float | None:
    """Tokens per step of a request that drafted: its accepted drafts and one more."""
    drafts = sum(w.drafts for w in windows)
    return 1 + sum(w.accepted_tokens for w in windows) / drafts if drafts else None


def phase_spans(info: RunInfo) -> dict[str, list[Span]]:
    """The part of each phase that counts, warm-up taken off; phases of one name (blocks of a sweep) stand together."""
    warmup, begun = float(info.plan.get("warmupSeconds", 0.0)), 0.0
    spans: dict[str, list[Span]] = {}
    for phase in info.plan["phases"]:
        end = begun + float(phase["seconds"])
        counted = phase.get("countedSeconds", end - max(begun, warmup))
        if counted > 0:
            name = str(phase["name"])
            spans.setdefault(name, []).append(Span(end - counted, end, stratum(name)))
        begun = end
    return spans


def _per_position(windows: list[CounterWindow]) -> tuple[float, ...]:
    drafts = sum(w.drafts for w in windows)
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
    info: RunInfo, records: Mapping[str, list[RequestRecord]], parts: Mapping[str, Part], chance: np.random.Generator
) -> dict[str, dict[str, Estimate | None]]:
    """Per target other than the baseline, what it saves in each part of the requests."""
    if info.baseline is None:
        return {}

    def gain(name: str, part: Part) -> Estimate | None:
        arm, base = (observed_tpot(filter(part, records[side])) for side in (name, info.baseline or ""))
        return relative_gain(arm, base, chance)

    return {name: {key: gain(name, part) for key, part in parts.items()} for name in records if name != info.baseline}


def _by_phase(info: RunInfo) -> dict[str, Part]:
    def of(phase: str) -> Part:
        return lambda record: record.phase == phase

    return {"overall": lambda _: True, **{phase: of(phase) for phase in phase_spans(info)}}


def _by_domain(records: Mapping[str, list[RequestRecord]]) -> dict[str, Part]:
    def of(domain: str) -> Part:
        return lambda record: record.domain == domain

    return {domain: of(domain) for domain in sorted({r.domain for rows in records.values() for r in rows})}


def _target_dict(target: TargetSummary) -> dict[str, Any]:
    return {
        "overall": group_dict(target.overall),
        "phases": {name: group_dict(part) for name, part in target.phases.items()},
        "domains": {name: group_dict(part) for name, part in target.domains.items()},
        "meanAcceptedLength": target.accepted_length,
        "meanAcceptedLengthByPhase": {name: round(length, 4) for name, length in target.accepted_by_phase.items()},
        "perPositionAcceptance": [round(share, 4) for share in target.per_position],
        "generatorLateShare": target.late_share,
    }
