"""Findings -> conditions, with timestamps that move only when a status does, and the events that go with a change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from specdec.api.conditions import Condition, EventReason, Truth
from specdec.api.event import Event
from specdec.api.report import Finding
from specdec.api.status import ConditionEntry, Status

# Conditions whose False is told as a warning, with what their return to True is called.
_WARNED: Final = {
    Condition.CAPACITY_AVAILABLE: EventReason.RECOVERED,
    Condition.METRICS_AVAILABLE: EventReason.RECOVERED,
    Condition.SPECULATION_BENEFICIAL: EventReason.RECOVERED,
    Condition.READY: EventReason.BECAME_READY,
}


def conditions(
    findings: Mapping[Condition, Finding], before: Status, generation: int, now: str
) -> tuple[ConditionEntry, ...]:
    """All conditions, in the order of `Condition`. now: RFC 3339, taken for those whose status changed."""
    return tuple(
        _entry(condition, findings[condition], before.condition(condition), generation, now) for condition in Condition
    )


def events(entries: tuple[ConditionEntry, ...], before: Status) -> tuple[Event, ...]:
    """What is worth telling about the step from `before` to `entries`."""
    return tuple(event for entry in entries for event in _told(entry, before.condition(entry.type)))


def _entry(
    condition: Condition, finding: Finding, known: ConditionEntry | None, generation: int, now: str
) -> ConditionEntry:
    unchanged = known is not None and known.status == finding.truth
    return ConditionEntry(
        type=condition,
        status=finding.truth,
        reason=finding.reason,
        message=finding.message,
        observed_generation=generation,
        last_transition_time=known.last_transition_time if known and unchanged else now,
    )


def _told(entry: ConditionEntry, known: ConditionEntry | None) -> Iterator[Event]:
    was = known.status if known else Truth.UNKNOWN
    if entry.type == Condition.STALLED:
        yield from _stalled(entry, known)
    elif entry.type == Condition.READY:
        yield from _ready(entry, was)
    elif entry.type in _WARNED:
        yield from _warned(entry, known)


def _stalled(entry: ConditionEntry, known: ConditionEntry | None) -> Iterator[Event]:
    was = known is not None and known.status == Truth.TRUE
    if entry.status == Truth.TRUE and not (was and known and known.reason == entry.reason):
        yield Event("Warning", entry.reason, entry.message)
    elif was and entry.status == Truth.FALSE:
        yield Event("Normal", EventReason.RECOVERED, "what stood in the way is gone")


def _ready(entry: ConditionEntry, was: str) -> Iterator[Event]:
    if entry.status == Truth.TRUE and was != Truth.TRUE:
        yield Event("Normal", EventReason.BECAME_READY, entry.message)
    elif entry.status == Truth.FALSE and was == Truth.TRUE:
        yield Event("Warning", EventReason.NO_LONGER_READY, entry.message)


def _warned(entry: ConditionEntry, known: ConditionEntry | None) -> Iterator[Event]:
    before = (known.status, known.reason) if known else (Truth.UNKNOWN, "")
    if entry.status == Truth.FALSE and before != (Truth.FALSE, entry.reason):
        yield Event("Warning", entry.reason, entry.message)
    elif entry.status == Truth.TRUE and before[0] == Truth.FALSE:
        yield Event("Normal", EventReason.RECOVERED, entry.message)
