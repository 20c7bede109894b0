"""From a decision, or from a change of the spec, to what is accepted to be in force. Pure; nothing here acts."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from specdec import desired, tuning
from specdec.api.decision import AcceptedDecision, RestartTrial, Switching
from specdec.api.resource import SpeculativeDeployment
from specdec.api.schedule import Schedule, constant
from specdec.api.tuning import Mode, SwitchingPolicy
from specdec.controllers.checkpoint import Checkpoint, Entry
from specdec.controllers.first import First, first

TIERS_SPELLED_OUT: Final = 4
# What the tuner's word for the end of a restart trial is in the history.
ENDED: Final = {
    tuning.Reason.TRIAL_DELIVERED: "Confirmed",
    tuning.Reason.DID_NOT_DELIVER: "Reverted",
    tuning.Reason.TRIAL_NOT_READY: "Reverted",
}
INCONCLUSIVE: Final = "Inconclusive"
# Kinds that are no move of the history: a live trial is over in seconds, the end of one is the verdict of its entry.
UNTOLD: Final = (tuning.Kind.TRIAL, tuning.Kind.END_TRIAL)


def amended(
    checkpoint: Checkpoint, resource: SpeculativeDeployment, now: float, *, pods_made: bool = False
) -> Checkpoint:
    """`checkpoint` brought in line with the spec: a first acceptance, another start value, another way of switching.

    The same object when the spec asks for nothing new. pods_made: whether there are pods already, as after the loss of
    a checkpoint; nothing is chosen for those.
    """
    spec = resource.spec
    asked, how = spec.speculator.num_speculative_tokens, way(resource)
    accepted = checkpoint.accepted
    if accepted is None:
        started = First(constant(asked, spec.engine.max_num_seqs)) if pods_made else first(resource)
        return _first(checkpoint, how, asked, started, now)
    if checkpoint.asked_start_k != asked:
        return _anew(checkpoint, replace(accepted, start_k=asked, switching=how), asked, "StartValueChanged", now)
    live_asked = spec.tuning.switching is SwitchingPolicy.LIVE
    if how != accepted.switching and (how == "Restart" or live_asked):
        return _anew(checkpoint, replace(accepted, switching=how), asked, "SwitchingChanged", now)
    if spec.tuning.mode is Mode.OFF and not spec.paused and _tuned(accepted, asked):
        untuned = replace(accepted, start_k=asked, switching=how)
        return _anew(checkpoint, untuned, asked, tuning.Reason.TUNING_OFF.value, now)
    if trial_objection(resource, accepted):
        return _without_trial(checkpoint, accepted)
    return checkpoint


def trial_objection(resource: SpeculativeDeployment, accepted: AcceptedDecision) -> str | None:
    """Why the restart trial cannot go on, or None, also where there is none. The first fact is the one that is told."""
    spec, trial = resource.spec, accepted.trial
    if trial is None or spec.paused:
        return None
    changed = desired.restart_reason(resource, accepted)
    ks = {trial.start_k, *(trial.schedule.ks if trial.schedule else ())}
    facts = (
        (changed is not None, f"all pods are replaced meanwhile: {changed.message if changed else ''}"),
        (spec.tuning.mode is not Mode.AUTO, f"spec.tuning.mode is {spec.tuning.mode.value} now"),
        (spec.replicas <= trial.replicas, f"{spec.replicas} replicas leave no peer to compare with"),
        (min(ks) < spec.tuning.min or max(ks) > spec.max_k, f"it is outside of {spec.tuning.min}..{spec.max_k} now"),
    )
    return next((why for holds, why in facts if holds), None)


def held_by_pause(checkpoint: Checkpoint, resource: SpeculativeDeployment, now: float) -> desired.RestartReason | None:
    """Why the pods would be replaced, were spec.paused not set; None where they would not be, or it is not."""
    if not resource.spec.paused or checkpoint.accepted is None:
        return None
    accepted = amended(checkpoint, resource, now, pods_made=True).accepted
    assert accepted is not None
    return desired.restart_reason(resource, accepted)


def outdone(checkpoint: Checkpoint, revision: int) -> Checkpoint:
    """`checkpoint` after an engine was seen with a later `revision` than ours, as when the record was lost."""
    accepted = checkpoint.accepted
    if accepted is None or revision <= accepted.revision:
        return checkpoint
    return replace(checkpoint, accepted=replace(accepted, revision=revision + 1))


def accepted_with(
    checkpoint: Checkpoint,
    decision: tuning.Decision,
    switching: tuning.Switching,
    now: float,
    back_to: Schedule | None = None,
) -> Checkpoint:
    """`checkpoint` with `decision` accepted: a new revision, an entry in the history unless it is but a trial.

    back_to: what was in force before the trial that `decision` ends, if it ends one.
    """
    before = checkpoint.accepted
    if before is None:
        raise ValueError("a decision needs something accepted before it; amend the checkpoint first")
    after = _follow(before, decision, switching)
    follows = decision.kind in (tuning.Kind.RESTART_TRIAL, tuning.Kind.END_TRIAL)
    noted = replace(checkpoint, accepted=after, since=checkpoint.since if follows else now)
    if decision.kind not in UNTOLD and decision.reason is not tuning.Reason.TRIAL_ENDED:
        untried = in_words(before) if back_to is None else schedule_in_words(back_to)
        noted = noted.remember(_entry(untried, after, decision, now))
    if before.trial is not None and after.trial is None:
        return _trial_ended(noted, decision)
    spends = decision.kind in (tuning.Kind.RESTART, tuning.Kind.RESTART_TRIAL)
    return noted.restarted(now) if spends else noted


def judged(checkpoint: Checkpoint, moves: tuple[tuning.Move, ...]) -> Checkpoint:
    """`checkpoint` with the tuner's verdicts in its history."""
    known = {round(move.at, 3): move for move in moves}
    history = tuple(_judged(entry, known.get(round(entry.at, 3))) for entry in checkpoint.history)
    return checkpoint if history == checkpoint.history else replace(checkpoint, history=history)


def wanted_live(accepted: AcceptedDecision, max_batch: int) -> Schedule:
    """What a live endpoint is to be told."""
    if accepted.off:
        return constant(0, max_batch)
    return accepted.schedule or constant(accepted.start_k, max_batch)


def in_words(accepted: AcceptedDecision) -> str:
    """Such as "7", "7 to batch 16, then 3" or "off"."""
    if accepted.off:
        return "off"
    return str(accepted.start_k) if accepted.schedule is None else schedule_in_words(accepted.schedule)


def schedule_in_words(schedule: Schedule) -> str:
    """Such as "5", "7 to batch 16, then 3", or "2 to 7 in 9 tiers"."""
    tiers = schedule.tiers
    if len(tiers) > TIERS_SPELLED_OUT:
        return f"{schedule.ks[0]} to {schedule.ks[-1]} in {len(tiers)} tiers"
    bounded = [f"{tier.num_speculative_tokens} to batch {tier.to_batch}" for tier in tiers[:-1]]
    last = str(tiers[-1].num_speculative_tokens)
    return ", ".join([*bounded, f"then {last}"]) if bounded else last


def trial_in_words(trial: RestartTrial) -> str:
    """As `in_words`, of what a replica tries."""
    return str(trial.start_k) if trial.schedule is None else schedule_in_words(trial.schedule)


def _entry(before: str, after: AcceptedDecision, decision: tuning.Decision, now: float) -> Entry:
    tries, delivered = after.trial, decision.reason is tuning.Reason.TRIAL_DELIVERED
    return Entry(
        at=now,
        before=before,
        after=in_words(after) if tries is None else f"{trial_in_words(tries)} on trial",
        reason=decision.reason.value,
        predicted_percent=round(decision.gain.mean_percent, 1),
        # What a trial has measured needs no second verdict.
        verdict=PENDING if tuning.promises(decision) and not delivered else None,
    )


def _trial_ended(checkpoint: Checkpoint, decision: tuning.Decision) -> Checkpoint:
    measured = decision.gain
    realised = round(measured.mean_percent, 1) if measured.upper_percent > measured.lower_percent else None
    return _with_verdict(checkpoint, ENDED.get(decision.reason, INCONCLUSIVE), realised)


def _with_verdict(checkpoint: Checkpoint, verdict: str, realised: float | None) -> Checkpoint:
    """The entry of the restart trial judged; it is the only one that ends so."""
    history = tuple(
        replace(entry, verdict=verdict, realised_percent=realised)
        if entry.verdict == PENDING and entry.after.endswith(" on trial")
        else entry
        for entry in checkpoint.history
    )
    return replace(checkpoint, history=history)


def _without_trial(checkpoint: Checkpoint, accepted: AcceptedDecision) -> Checkpoint:
    stopped = replace(checkpoint, accepted=replace(accepted, revision=accepted.revision + 1, trial=None))
    return _with_verdict(stopped, INCONCLUSIVE, None)


def _first(checkpoint: Checkpoint, how: Switching, asked: int, started: First, now: float) -> Checkpoint:
    several = started.schedule if len(started.schedule.tiers) > 1 else None
    accepted = AcceptedDecision(revision=1, switching=how, start_k=max(started.schedule.ks), schedule=several)
    begun = replace(checkpoint, accepted=accepted, asked_start_k=asked, since=now)
    if not started.why:
        return begun
    reason = "FirstSchedule" if _tuned(accepted, asked) else "PriorMayNotFit"
    return begun.remember(Entry(at=now, before=str(asked), after=in_words(accepted), reason=reason))


def way(resource: SpeculativeDeployment) -> Switching:
    """How K reaches engines that were never tuned."""
    return "Live" if resource.spec.live_possible else "Restart"


def _tuned(accepted: AcceptedDecision, asked: int) -> bool:
    return accepted.off or accepted.schedule is not None or accepted.start_k != asked or accepted.trial is not None


def _anew(checkpoint: Checkpoint, accepted: AcceptedDecision, asked: int, reason: str, now: float) -> Checkpoint:
    assert checkpoint.accepted is not None
    untuned = replace(accepted, revision=accepted.revision + 1, schedule=None, off=False, trial=None)
    entry = Entry(at=now, before=in_words(checkpoint.accepted), after=in_words(untuned), reason=reason)
    stopped = checkpoint if checkpoint.accepted.trial is None else _with_verdict(checkpoint, INCONCLUSIVE, None)
    return replace(stopped, accepted=untuned, asked_start_k=asked, since=now).remember(entry)


def _follow(before: AcceptedDecision, decision: tuning.Decision, switching: tuning.Switching) -> AcceptedDecision:
    after = replace(before, revision=before.revision + 1, trial=None)
    if decision.kind is tuning.Kind.RESTART_TRIAL:
        start_k, schedule = _start(decision)
        return replace(after, trial=RestartTrial(start_k, schedule))
    if decision.kind is tuning.Kind.END_TRIAL:
        return after
    if decision.kind is tuning.Kind.DISABLE:
        return replace(after, off=True)
    if decision.kind is tuning.Kind.RESTART or switching is tuning.Switching.RESTART:
        start_k, schedule = _start(decision)
        return replace(after, switching="Restart", start_k=start_k, schedule=schedule, off=False)
    return replace(after, schedule=decision.schedule, off=False)


def _start(decision: tuning.Decision) -> tuple[int, Schedule | None]:
    """Start value and start-up schedule, None for a constant one."""
    start_k = decision.start_k if decision.start_k is not None else max(decision.schedule.ks)
    return start_k, decision.schedule if len(decision.schedule.tiers) > 1 else None


PENDING: Final = "Pending"
VERDICTS: Final = {
    tuning.Verdict.DELIVERED: "Confirmed",
    tuning.Verdict.INCONCLUSIVE: "Inconclusive",
    tuning.Verdict.DID_NOT_DELIVER: "Reverted",
}


def _judged(entry: Entry, move: tuning.Move | None) -> Entry:
    if move is None or entry.verdict != PENDING or move.verdict is tuning.Verdict.PENDING:
        return entry
    realised = None if move.realised is None else round(move.realised.mean_percent, 1)
    return replace(entry, realised_percent=realised, verdict=VERDICTS[move.verdict])
