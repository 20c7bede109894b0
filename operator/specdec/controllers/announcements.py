"""Events by name: what the shell tells beside what `observed` tells of conditions."""

from __future__ import annotations

from dataclasses import replace

from specdec import tuning
from specdec.api.conditions import EventReason
from specdec.api.event import Event
from specdec.api.resource import SpeculativeDeployment
from specdec.controllers.checkpoint import Checkpoint, Entry
from specdec.desired import RestartReason, restart_reason


def steps(
    resource: SpeculativeDeployment, before: Checkpoint, after: Checkpoint, answer: tuning.Decision | tuning.Hold | None
) -> list[Event]:
    """What is to be told of the step from one checkpoint to the next."""
    told = [pods_restart(reason)] if (reason := _restart(resource, before, after)) else []
    newest = after.history[0] if after.history[:1] != before.history[:1] else None
    if isinstance(answer, tuning.Decision) and newest:
        return [*told, decided(answer, newest)]
    if isinstance(answer, tuning.Hold) and answer.reason is tuning.Reason.BROKEN_DRAFTER:
        return [*told, drafter_broken(answer.message)]
    return [*told, spec_changed_k(newest)] if newest and answer is None else told


def children_made(count: int) -> Event:
    return Event("Normal", EventReason.CHILDREN_APPLIED, f"made {count} objects for this resource")


def pods_restart(why: RestartReason) -> Event:
    return Event("Normal", EventReason.POD_TEMPLATE_CHANGED, f"pods are replaced: {why.message} ({why.reason})")


def decided(decision: tuning.Decision, entry: Entry) -> Event:
    """One event per decision, under the reason that says what kind of change it is."""
    gain = decision.gain
    predicted = f"; predicted {gain.mean_percent:+.1f} % [{gain.lower_percent:+.1f}, {gain.upper_percent:+.1f}]"
    message = f"K {entry.before} -> {entry.after}: {decision.message}{predicted if gain.mean_percent else ''}"
    match decision.kind:
        case tuning.Kind.DISABLE:
            return Event("Warning", EventReason.SPECULATION_SWITCHED_OFF, message)
        case tuning.Kind.ENABLE:
            return Event("Normal", EventReason.SPECULATION_SWITCHED_ON, message)
        case tuning.Kind.TAKE_BACK:
            return Event("Warning", EventReason.SCHEDULE_REVERTED, message)
        case tuning.Kind.RESTART:
            return Event("Normal", EventReason.START_VALUE_CHANGED, message)
        case tuning.Kind.TRIAL:
            return Event("Normal", EventReason.TRIAL_STARTED, message)
        case _:
            return Event("Normal", EventReason.SCHEDULE_CHANGED, message)


def drafter_broken(message: str) -> Event:
    return Event("Warning", EventReason.DRAFTER_BROKEN, message)


def spec_changed_k(entry: Entry) -> Event:
    return Event("Normal", EventReason.START_VALUE_CHANGED, f"K {entry.before} -> {entry.after}: {entry.reason}")


def checkpoint_unreadable(why: str) -> Event:
    return Event("Warning", "CheckpointUnreadable", f"learning begins anew: {why}")


def _restart(resource: SpeculativeDeployment, before: Checkpoint, after: Checkpoint) -> RestartReason | None:
    if before.accepted is None or after.accepted is None or before.accepted.rendered == after.accepted.rendered:
        return None
    return restart_reason(resource, replace(after.accepted, rendered=before.accepted.rendered))
