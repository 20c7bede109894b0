"""Events by name: what the shell tells beside what `observed` tells of conditions."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Literal

from specdec import tuning
from specdec.api.conditions import EventReason
from specdec.api.decision import AcceptedDecision
from specdec.api.event import Event
from specdec.api.resource import SpeculativeDeployment
from specdec.controllers.accepting import in_words
from specdec.controllers.checkpoint import Checkpoint, Entry
from specdec.desired import RestartReason, restart_reason

Answer = tuning.Decision | tuning.Hold


def steps(
    resource: SpeculativeDeployment,
    before: Checkpoint,
    after: Checkpoint,
    answer: Answer | None,
    last: Answer | None = None,
) -> list[Event]:
    """What is to be told of the step from one checkpoint to the next. answer, last: of this tick and the one before."""
    told = [pods_restart(reason)] if (reason := _restart(resource, before, after)) else []
    if isinstance(answer, tuning.Decision) and before.accepted and after.accepted:
        return [*told, decided(answer, before.accepted, after.accepted)]
    if isinstance(answer, tuning.Hold) and answer.reason is tuning.Reason.BROKEN_DRAFTER:
        # Its words hold a countdown, so that each tick would be told as something new.
        lasts = last is not None and last.reason is answer.reason
        return told if lasts else [*told, drafter_broken(answer.message)]
    followed = answer is None and after.history[:1] != before.history[:1]
    return [*told, spec_changed_k(after.history[0])] if followed else told


def children_made(count: int) -> Event:
    return Event("Normal", EventReason.CHILDREN_APPLIED, f"made {count} objects for this resource")


def pods_restart(why: RestartReason) -> Event:
    return Event("Normal", EventReason.POD_TEMPLATE_CHANGED, f"pods are replaced: {why.message} ({why.reason})")


_DECIDED: Final[dict[tuning.Kind, tuple[Literal["Normal", "Warning"], EventReason]]] = {
    tuning.Kind.DISABLE: ("Warning", EventReason.SPECULATION_SWITCHED_OFF),
    tuning.Kind.ENABLE: ("Normal", EventReason.SPECULATION_SWITCHED_ON),
    tuning.Kind.TAKE_BACK: ("Warning", EventReason.SCHEDULE_REVERTED),
    tuning.Kind.RESTART: ("Normal", EventReason.START_VALUE_CHANGED),
    tuning.Kind.TRIAL: ("Normal", EventReason.TRIAL_STARTED),
    tuning.Kind.LIVE: ("Normal", EventReason.SCHEDULE_CHANGED),
}


def decided(decision: tuning.Decision, before: AcceptedDecision, after: AcceptedDecision) -> Event:
    """One event per decision, under the reason that says what kind of change it is."""
    kind, reason = _DECIDED[decision.kind]
    if decision.reason is tuning.Reason.TRIAL_ENDED:
        reason = EventReason.TRIAL_ENDED
    gain = decision.gain
    predicted = f"; predicted {gain.mean_percent:+.1f} % [{gain.lower_percent:+.1f}, {gain.upper_percent:+.1f}]"
    step = f"K {in_words(before)} -> {in_words(after)}"
    return Event(kind, reason, f"{step}: {decision.message}{predicted if gain.mean_percent else ''}")


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
