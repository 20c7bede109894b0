"""What the tuner knows, as the status shows it: figures, conditions, history. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from specdec import tuning
from specdec.api.quantities import milli, milliseconds
from specdec.api.report import TunerReport
from specdec.api.resource import SpeculativeDeployment
from specdec.api.schedule import Schedule, from_table
from specdec.api.status import (
    AcceptanceStatus,
    Capability,
    EngineStatus,
    HistoryEntry,
    PerformanceStatus,
    RecommendationStatus,
    ScheduleTier,
    SpeculationStatus,
    SwitchbackStatus,
)
from specdec.controllers.accepting import in_words, wanted_live
from specdec.controllers.checkpoint import Checkpoint, Entry
from specdec.controllers.engines import Known
from specdec.controllers.findings import findings
from specdec.controllers.standing import Standing
from specdec.tuning.samples import BATCH_BUCKET_ENDS

# A finer schedule is shown by its K at the ends of the batch buckets.
TIERS_SHOWN: Final = 17
CONFIDENCE: Final = ((0.8, "High"), (0.4, "Medium"), (0.0, "Low"))


def report_of(resource: SpeculativeDeployment, standing: Standing) -> TunerReport:
    """None of what is not known yet is made up."""
    checkpoint, summary = standing.checkpoint, standing.summary()
    return TunerReport(
        speculation=_speculation(resource, checkpoint, summary),
        acceptance=_acceptance(summary),
        performance=_performance(summary, _measured_percent(checkpoint)),
        recommendation=_recommendation(summary, standing.answer),
        switchback=_switchback(summary),
        history=tuple(map(_entry, checkpoint.history)),
        engine=_engine(standing.known.values()),
        findings=findings(standing, summary),
    )


def _speculation(
    resource: SpeculativeDeployment, checkpoint: Checkpoint, summary: tuning.Summary | None
) -> SpeculationStatus | None:
    accepted = checkpoint.accepted
    if accepted is None:
        return None
    schedule = wanted_live(accepted, resource.spec.engine.max_num_seqs)
    return SpeculationStatus(
        num_speculative_tokens=schedule.k_at(_batch(summary)),
        method=resource.spec.speculator.method.value,
        schedule=_tiers(schedule),
        switching=accepted.switching,
        since=None if checkpoint.since is None else _time(checkpoint.since),
    )


def _acceptance(summary: tuning.Summary | None) -> AcceptanceStatus | None:
    if summary is None or summary.mean_accepted_length is None:
        return None
    return AcceptanceStatus(
        mean_accepted_length=f"{round(summary.mean_accepted_length, 2) * 1000:.0f}m",
        per_position=tuple(milli(rate) for rate in summary.acceptance),
        drafts=round(summary.drafts),
    )


def _measured_percent(checkpoint: Checkpoint) -> float | None:
    """What a trial has measured of what is in force against what the user asked for, None where none did."""
    accepted = checkpoint.accepted
    if accepted is None or not checkpoint.history:
        return None
    last, untuned = checkpoint.history[0], str(checkpoint.asked_start_k)
    proven = last.reason == tuning.Reason.TRIAL_DELIVERED and (last.before, last.after) == (untuned, in_words(accepted))
    return last.predicted_percent if proven else None


def _performance(summary: tuning.Summary | None, measured: float | None) -> PerformanceStatus | None:
    if summary is None or summary.tokens_per_second is None:
        return None
    tpot, ttft = summary.tpot_p95_seconds, summary.ttft_p95_seconds
    gain = summary.gain_over_untuned.mean_percent if summary.gain_over_untuned and measured is None else measured
    return PerformanceStatus(
        tokens_per_second=round(summary.tokens_per_second),
        time_per_output_token_p95=None if tpot is None else milliseconds(tpot),
        time_to_first_token_p95=None if ttft is None else milliseconds(ttft),
        batch_size=None if summary.batch is None else milli(round(summary.batch, 1)),
        gain_percent=None if gain is None else round(gain),
        gain_basis=None if gain is None else "Estimated" if measured is None else "Measured",
    )


def _recommendation(
    summary: tuning.Summary | None, answer: tuning.Decision | tuning.Hold | None
) -> RecommendationStatus | None:
    if summary is None or summary.recommended is None or summary.recommended_gain is None:
        return None
    gain = summary.recommended_gain
    return RecommendationStatus(
        num_speculative_tokens=summary.recommended.k_at(_batch(summary)),
        schedule=_tiers(summary.recommended),
        expected_gain_percent=round(gain.mean_percent),
        lower_bound_percent=round(gain.lower_percent),
        confidence=next(word for least, word in CONFIDENCE if summary.confidence >= least),
        reason=answer.reason.value if answer else None,
    )


def _switchback(summary: tuning.Summary | None) -> SwitchbackStatus | None:
    if summary is None or summary.pairs is None:
        return None
    pairs, gain = summary.pairs, summary.pairs.gain()
    return SwitchbackStatus(
        untuned_num_speculative_tokens=pairs.untuned_k,
        since=_time(pairs.began),
        pairs=pairs.seen.count,
        gain_percent=None if gain is None else round(gain.mean_percent),
        lower_bound_percent=None if gain is None else round(gain.lower_percent),
        upper_bound_percent=None if gain is None else round(gain.upper_percent),
        verdict=pairs.finding.value,
    )


def _entry(entry: Entry) -> HistoryEntry:
    predicted, realised = entry.predicted_percent, entry.realised_percent
    return HistoryEntry.model_validate(
        {
            "time": _time(entry.at),
            "from": entry.before,
            "to": entry.after,
            "reason": entry.reason,
            "predictedGainPercent": None if predicted is None else round(predicted),
            "realisedGainPercent": None if realised is None else round(realised),
            "verdict": entry.verdict,
        }
    )


def _engine(known: Iterable[Known]) -> EngineStatus | None:
    told = [engine.speculation for engine in known if engine.speculation]
    if not told:
        return None
    # What one engine lacks, the fleet lacks.
    offered = sorted((c for speculation in told for c in speculation.capabilities), key=lambda c: not c.status)
    fleet = {c.name: Capability(name=c.name, status=c.status, reason=c.reason) for c in offered}
    versions = sorted({speculation.engine.version for speculation in told})
    return EngineStatus(version=", ".join(versions), capabilities=tuple(fleet[name] for name in sorted(fleet)))


def _tiers(schedule: Schedule) -> tuple[ScheduleTier, ...]:
    tiers = schedule.tiers if len(schedule.tiers) <= TIERS_SHOWN else _coarse(schedule).tiers
    return tuple(
        ScheduleTier(from_batch=t.from_batch, to_batch=t.to_batch, num_speculative_tokens=t.num_speculative_tokens)
        for t in tiers
    )


def _coarse(schedule: Schedule) -> Schedule:
    ends = [end for end in BATCH_BUCKET_ENDS if end < schedule.max_batch] + [schedule.max_batch]
    return from_table(
        [schedule.k_at(next(e for e in ends if batch <= e)) for batch in range(1, schedule.max_batch + 1)]
    )


def _batch(summary: tuning.Summary | None) -> int:
    return max(round(summary.batch), 1) if summary is not None and summary.batch is not None else 1


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
