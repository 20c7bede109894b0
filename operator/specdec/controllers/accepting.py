"""From a decision, or from a change of the spec, to what is accepted to be in force. Pure; nothing here acts."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from specdec import tuning
from specdec.api.decision import AcceptedDecision, Switching
from specdec.api.resource import SpeculativeDeployment
from specdec.api.schedule import Schedule, constant
from specdec.api.tuning import Mode, SwitchingPolicy
from specdec.controllers.checkpoint import Checkpoint, Entry

TIERS_SPELLED_OUT: Final = 4
# Kinds of moves whose promised gain is held against what came of it.
JUDGED: Final = (tuning.Kind.LIVE, tuning.Kind.RESTART)


def amended(checkpoint: Checkpoint, resource: SpeculativeDeployment, now: float) -> Checkpoint:
    """`checkpoint` brought in line with the spec: a first acceptance, another start value, another way of switching.

    The same object when the spec asks for nothing new.
    """
    spec = resource.spec
    asked, how = spec.speculator.num_speculative_tokens, _way(resource)
    accepted = checkpoint.accepted
    if accepted is None:
        first = AcceptedDecision(revision=1, switching=how, start_k=asked)
        return replace(checkpoint, accepted=first, asked_start_k=asked, since=now)
    if checkpoint.asked_start_k != asked:
        return _anew(checkpoint, replace(accepted, start_k=asked, switching=how), asked, "StartValueChanged", now)
    live_asked = spec.tuning.switching is SwitchingPolicy.LIVE
    if how != accepted.switching and (how == "Restart" or live_asked):
        return _anew(checkpoint, replace(accepted, switching=how), asked, "SwitchingChanged", now)
    if spec.tuning.mode is Mode.OFF and not spec.paused and _tuned(accepted, asked):
        untuned = replace(accepted, start_k=asked, switching=how)
        return _anew(checkpoint, untuned, asked, tuning.Reason.TUNING_OFF.value, now)
    return checkpoint


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
    noted = replace(checkpoint, accepted=after, since=now)
    if decision.kind is not tuning.Kind.TRIAL and decision.reason is not tuning.Reason.TRIAL_ENDED:
        untried = in_words(before) if back_to is None else schedule_in_words(back_to)
        noted = noted.remember(_entry(untried, after, decision, now))
    return noted.restarted(now) if after.start_k != before.start_k or after.switching == "Restart" else noted


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


def _entry(before: str, after: AcceptedDecision, decision: tuning.Decision, now: float) -> Entry:
    return Entry(
        at=now,
        before=before,
        after=in_words(after),
        reason=decision.reason.value,
        predicted_percent=round(decision.gain.mean_percent, 1),
        verdict=PENDING if decision.kind in JUDGED else None,
    )


def _way(resource: SpeculativeDeployment) -> Switching:
    return "Live" if resource.spec.live_possible else "Restart"


def _tuned(accepted: AcceptedDecision, asked: int) -> bool:
    return accepted.off or accepted.schedule is not None or accepted.start_k != asked


def _anew(checkpoint: Checkpoint, accepted: AcceptedDecision, asked: int, reason: str, now: float) -> Checkpoint:
    assert checkpoint.accepted is not None
    untuned = replace(accepted, revision=accepted.revision + 1, schedule=None, off=False, trial=None)
    entry = Entry(at=now, before=in_words(checkpoint.accepted), after=in_words(untuned), reason=reason)
    return replace(checkpoint, accepted=untuned, asked_start_k=asked, since=now).remember(entry)


def _follow(before: AcceptedDecision, decision: tuning.Decision, switching: tuning.Switching) -> AcceptedDecision:
    after = replace(before, revision=before.revision + 1)
    if decision.kind is tuning.Kind.DISABLE:
        return replace(after, off=True)
    if decision.kind is tuning.Kind.RESTART or switching is tuning.Switching.RESTART:
        start_k = decision.start_k if decision.start_k is not None else max(decision.schedule.ks)
        several = len(decision.schedule.tiers) > 1
        schedule = decision.schedule if several else None
        return replace(after, switching="Restart", start_k=start_k, schedule=schedule, off=False)
    return replace(after, schedule=decision.schedule, off=False)


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
