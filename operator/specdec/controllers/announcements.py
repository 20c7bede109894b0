"""Events by name: what the shell tells beside what `observed` tells of conditions."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Literal

from specdec import tuning
from specdec.api.conditions import EventReason
from specdec.api.decision import AcceptedDecision, RestartTrial
from specdec.api.event import Event
from specdec.api.names import UNREADABLE_KEY
from specdec.api.resource import SpeculativeDeployment
from specdec.controllers.accepting import in_words, trial_in_words, trial_objection
from specdec.controllers.checkpoint import Checkpoint, Entry
from specdec.controllers.first import first
from specdec.desired import RestartReason, restart_reason

Answer = tuning.Decision | tuning.Hold


def steps(
    resource: SpeculativeDeployment,
    before: Checkpoint,
    after: Checkpoint,
    answer: Answer | None,
) -> list[Event]:
    """What is to be told of the step from one checkpoint to the next."""
    if before.accepted is None and after.accepted is not None:
        return [start_value_chosen(after.accepted, why)] if (why := first(resource).why) else []
    told = [pods_restart(reason)] if (reason := _restart(resource, before, after)) else []
    if isinstance(answer, tuning.Decision) and before.accepted and after.accepted:
        return [*told, decided(answer, before.accepted, after.accepted)]
    if answer is None and before.accepted and before.accepted.trial and after.accepted and not after.accepted.trial:
        told = [*told, trial_stopped(before.accepted.trial, trial_objection(resource, before.accepted))]
    followed = answer is None and len(after.history) and _newest(after) > _newest(before)
    return [*told, spec_changed_k(after.history[0])] if followed else told


def children_made(count: int) -> Event:
    return Event("Normal", EventReason.CHILDREN_APPLIED, f"made {count} objects for this resource")


def start_value_chosen(accepted: AcceptedDecision, why: str) -> Event:
    return Event("Normal", EventReason.START_VALUE_CHOSEN, f"the pods start with K {in_words(accepted)}: {why}")


def trial_stopped(trial: RestartTrial, why: str | None) -> Event:
    message = f"the trial of K {trial_in_words(trial)} on one replica is stopped: {why or 'the spec changed'}"
    return Event("Normal", EventReason.TRIAL_ENDED, message)


def pods_restart(why: RestartReason) -> Event:
    return Event("Normal", EventReason.POD_TEMPLATE_CHANGED, f"pods are replaced: {why.message} ({why.reason})")


_DECIDED: Final[dict[tuning.Kind, tuple[Literal["Normal", "Warning"], EventReason]]] = {
    tuning.Kind.DISABLE: ("Warning", EventReason.SPECULATION_SWITCHED_OFF),
    tuning.Kind.ENABLE: ("Normal", EventReason.SPECULATION_SWITCHED_ON),
    tuning.Kind.TAKE_BACK: ("Warning", EventReason.SCHEDULE_REVERTED),
    tuning.Kind.RESTART: ("Normal", EventReason.START_VALUE_CHANGED),
    tuning.Kind.TRIAL: ("Normal", EventReason.TRIAL_STARTED),
    tuning.Kind.RESTART_TRIAL: ("Normal", EventReason.TRIAL_STARTED),
    tuning.Kind.END_TRIAL: ("Warning", EventReason.TRIAL_ENDED),
    tuning.Kind.LIVE: ("Normal", EventReason.SCHEDULE_CHANGED),
}


def decided(decision: tuning.Decision, before: AcceptedDecision, after: AcceptedDecision) -> Event:
    """One event per decision, under the reason that says what kind of change it is."""
    kind, reason = _DECIDED[decision.kind]
    if decision.reason is tuning.Reason.TRIAL_ENDED:
        reason = EventReason.TRIAL_ENDED
    if decision.reason is tuning.Reason.NO_K_PAYS:
        kind = "Normal"
    gain = decision.gain
    predicted = f"; predicted {gain.mean_percent:+.1f} % [{gain.lower_percent:+.1f}, {gain.upper_percent:+.1f}]"
    measured = decision.kind is tuning.Kind.END_TRIAL or decision.reason is tuning.Reason.TRIAL_DELIVERED
    told = predicted if gain.mean_percent and not measured else ""
    return Event(kind, reason, f"K {_step(before, after)}: {decision.message}{told}")


def _step(before: AcceptedDecision, after: AcceptedDecision) -> str:
    if after.trial is not None:
        return f"{in_words(before)} -> {trial_in_words(after.trial)} on one replica"
    if before.trial is not None and in_words(before) == in_words(after):
        return f"{trial_in_words(before.trial)} -> {in_words(after)} on one replica"
    return f"{in_words(before)} -> {in_words(after)}"


_ALARMS: Final = {
    tuning.Reason.BROKEN_DRAFTER: EventReason.DRAFTER_BROKEN,
    tuning.Reason.CONSTRAINT_AT_RISK: EventReason.LATENCY_TARGET_MISSED,
}


def alarm(answer: tuning.Decision | tuning.Hold | None, accepted: AcceptedDecision | None) -> Event | None:
    """What a hold warns of; that speculation is off has been told when it was switched off."""
    if not isinstance(answer, tuning.Hold) or answer.reason not in _ALARMS or (accepted and accepted.off):
        return None
    return Event("Warning", _ALARMS[answer.reason], answer.message)


def spec_changed_k(entry: Entry) -> Event:
    return Event("Normal", EventReason.START_VALUE_CHANGED, f"K {entry.before} -> {entry.after}: {entry.reason}")


def checkpoint_unreadable(why: str) -> Event:
    kept = f"its text is kept under {UNREADABLE_KEY} in the ConfigMap"
    return Event("Warning", "CheckpointUnreadable", f"learning begins anew, pods stay as they are; {kept}: {why}")


def _restart(resource: SpeculativeDeployment, before: Checkpoint, after: Checkpoint) -> RestartReason | None:
    if before.accepted is None or after.accepted is None or before.accepted.rendered == after.accepted.rendered:
        return None
    return restart_reason(resource, replace(after.accepted, rendered=before.accepted.rendered))


def _newest(checkpoint: Checkpoint) -> float:
    return checkpoint.history[0].at if checkpoint.history else 0.0
