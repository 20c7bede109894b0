"""What the tuner reports about one resource: the seam between `tuning` (through the controllers) and `observed`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from specdec.api.conditions import Condition, Truth
from specdec.api.status import (
    AcceptanceStatus,
    EngineStatus,
    HistoryEntry,
    PerformanceStatus,
    RecommendationStatus,
    SpeculationStatus,
    SwitchbackStatus,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What is to be said under one condition: its truth, a CamelCase reason, and a sentence that names the remedy."""

    truth: Truth
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class TunerReport:
    """None means "not known yet" everywhere.

    findings: of MetricsAvailable, SpeculationActive, SpeculationBeneficial, Tuned and TrialInProgress; a missing one
        is written as Unknown.
    """

    speculation: SpeculationStatus | None = None
    acceptance: AcceptanceStatus | None = None
    performance: PerformanceStatus | None = None
    recommendation: RecommendationStatus | None = None
    switchback: SwitchbackStatus | None = None
    history: tuple[HistoryEntry, ...] = ()
    engine: EngineStatus | None = None
    findings: Mapping[Condition, Finding] = field(default_factory=dict)
