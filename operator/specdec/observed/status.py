"""Children, pods and the tuner's report -> `.status`, and the events that go with its change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from specdec.api import names
from specdec.api.conditions import Condition, Reason, Truth
from specdec.api.event import Event
from specdec.api.report import Finding, TunerReport
from specdec.api.resource import Problem, SpeculativeDeployment
from specdec.api.status import Status
from specdec.observed.cache import model_cached
from specdec.observed.capacity import capacity
from specdec.observed.conditions import conditions, events
from specdec.observed.progress import Progress, deadline_exceeded, pods_refused, progress
from specdec.observed.snapshot import Refusal, Snapshot
from specdec.observed.troubles import trouble

# The tuner's conditions before it has reported.
UNREPORTED: Final = Finding(Truth.UNKNOWN, Reason.NOT_YET_MEASURED, "the tuner has not seen enough of the engines yet")
NO_TRIAL: Final = Finding(Truth.FALSE, "NoTrial", "no trial is running")
PROBLEMS_SAID: Final = 5


@dataclass(frozen=True, slots=True)
class Observation:
    """status: what `.status` is to be; write it only where it differs from what is stored. events: to be told once."""

    status: Status
    events: tuple[Event, ...]


def status(
    resource: SpeculativeDeployment, seen: Snapshot, report: TunerReport | None, now: str, before: Status | None = None
) -> Observation:
    """The status of a valid resource.

    now: RFC 3339. before: the status last written, `resource.status` unless the caller knows a later one.
    """
    known, told = before or resource.status, report or TunerReport()
    rollout = progress(resource, seen)
    findings = {
        Condition.READY: _ready(rollout),
        Condition.RECONCILING: _reconciling(rollout),
        Condition.STALLED: _stalled(resource, seen),
        Condition.MODEL_CACHED: model_cached(resource, seen, known),
        Condition.CAPACITY_AVAILABLE: capacity(resource, seen, now),
        **_tuners(told),
    }
    generation = resource.metadata.generation
    entries = conditions(findings, known, generation, now)
    written = Status(
        observed_generation=generation,
        replicas=rollout.counts.replicas,
        ready_replicas=rollout.counts.ready,
        updated_replicas=rollout.counts.updated,
        selector=names.selector_text(resource.name),
        conditions=entries,
        speculation=told.speculation,
        acceptance=told.acceptance,
        performance=told.performance,
        recommendation=told.recommendation,
        switchback=told.switchback,
        history=told.history or None,
        engine=told.engine,
    )
    return Observation(written, events(entries, known))


def invalid(problems: tuple[Problem, ...], generation: int, now: str, before: Status) -> Observation:
    """The status of a resource that slipped past admission: stalled, its children left as they are."""
    said = "; ".join(str(problem) for problem in problems[:PROBLEMS_SAID])
    more = f"; and {len(problems) - PROBLEMS_SAID} more" if len(problems) > PROBLEMS_SAID else ""
    findings = {
        condition: Finding(entry.status, entry.reason, entry.message)
        if (entry := before.condition(condition))
        else UNREPORTED
        for condition in Condition
    }
    findings[Condition.STALLED] = Finding(Truth.TRUE, Reason.INVALID_SPEC, said + more)
    findings[Condition.RECONCILING] = Finding(Truth.FALSE, Reason.INVALID_SPEC, "nothing is changed until it is valid")
    findings[Condition.READY] = Finding(Truth.FALSE, Reason.INVALID_SPEC, "the spec is not valid; see Stalled")
    entries = conditions(findings, before, generation, now)
    written = before.model_copy(update={"observed_generation": generation, "conditions": entries})
    return Observation(written, events(entries, before))


def _ready(rollout: Progress) -> Finding:
    counts = rollout.counts
    if rollout.done and counts.wanted == 0:
        return Finding(Truth.TRUE, Reason.SCALED_TO_ZERO, "spec.replicas is 0, so nothing serves, as asked")
    if rollout.done:
        return Finding(Truth.TRUE, Reason.ALL_REPLICAS_READY, f"{counts.wanted} of {counts.wanted} replicas serve")
    missing = f"{counts.ready} of {counts.wanted} replicas serve: {rollout.message}"
    return Finding(Truth.FALSE, Reason.REPLICAS_NOT_READY, missing)


def _reconciling(rollout: Progress) -> Finding:
    moving = rollout.reason in (Reason.ROLLOUT_IN_PROGRESS, Reason.ROLLOUT_NOT_OBSERVED)
    return Finding(Truth.TRUE if moving else Truth.FALSE, rollout.reason, rollout.message)


def _stalled(resource: SpeculativeDeployment, seen: Snapshot) -> Finding:
    if seen.refusals:
        return _refused(seen.refusals[0])
    if found := trouble(seen.engines(), resource):
        return Finding(Truth.TRUE, found.reason, found.message)
    if said := pods_refused(resource, seen):
        remedy = "raise the quota, or change the resource so that the namespace's rules allow its pods"
        return Finding(Truth.TRUE, Reason.POD_REFUSED, f"pods cannot be created: {said}; {remedy}")
    if said := deadline_exceeded(resource, seen):
        remedy = "look at the pods with kubectl describe, and at the other conditions"
        return Finding(Truth.TRUE, Reason.ROLLOUT_DEADLINE_EXCEEDED, f"the rollout makes no progress: {said}; {remedy}")
    return Finding(Truth.FALSE, Reason.PROGRESSING, "nothing stands in the way")


def _refused(refusal: Refusal) -> Finding:
    if refusal.taken:
        return Finding(
            Truth.TRUE,
            Reason.CHILD_NAME_TAKEN,
            f"{refusal.child} exists and is not ours; remove it, or give this resource another name",
        )
    said = f"{refusal.child} was refused: {refusal.message}; {refusal.remedy}"
    return Finding(Truth.TRUE, Reason.CHILD_REFUSED, said)


def _tuners(report: TunerReport) -> dict[Condition, Finding]:
    unreported = {
        Condition.METRICS_AVAILABLE: UNREPORTED,
        Condition.SPECULATION_ACTIVE: UNREPORTED,
        Condition.SPECULATION_BENEFICIAL: UNREPORTED,
        Condition.TUNED: UNREPORTED,
        Condition.TRIAL_IN_PROGRESS: NO_TRIAL,
    }
    return unreported | {condition: found for condition, found in report.findings.items() if condition in unreported}
