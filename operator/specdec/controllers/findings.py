"""What is to be said under the tuner's conditions: truth, reason, and a sentence with the remedy. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Final

from specdec import tuning
from specdec.api.conditions import Condition, Truth
from specdec.api.decision import RestartTrial
from specdec.api.report import Finding
from specdec.controllers.accepting import trial_in_words
from specdec.controllers.checkpoint import Checkpoint
from specdec.controllers.engines import Known, Round
from specdec.controllers.standing import Standing
from specdec.engine.errors import EngineError, Refused
from specdec.tuning import Reason

# Holds that say: nothing better is known for now.
AT_REST: Final = frozenset(
    {
        Reason.GAIN_TOO_SMALL,
        Reason.GAIN_UNCERTAIN,
        Reason.COOLDOWN,
        Reason.TRIAL_RUNNING,
        Reason.SWITCHBACK,
        Reason.NO_K_PAYS,
    }
)
SCRAPED: Final = "Scraped"
PARTLY_SCRAPED: Final = "PartlyScraped"
# Reasons that come and go with each scrape and change nothing for anybody: told like figures.
PASSING: Final = frozenset({SCRAPED, PARTLY_SCRAPED, *(reason.value for reason in AT_REST)})

# Holds that are about the replica on trial.
SAID_OF_TRIALS: Final = (Reason.TRIAL_RUNNING, Reason.OUTSIDE_WINDOW, Reason.QUIETER_HOUR_AHEAD)
MOST_WARNINGS: Final = 10

Answer = tuning.Decision | tuning.Hold


def findings(standing: Standing, summary: tuning.Summary | None) -> dict[Condition, Finding]:
    """One finding per condition of the tuner; what is not known yet is left out."""
    found = {
        Condition.METRICS_AVAILABLE: _metrics(standing.seen),
        Condition.SPECULATION_ACTIVE: _active(standing.checkpoint, summary, standing.known),
        Condition.SPECULATION_BENEFICIAL: _beneficial(standing, summary),
        Condition.TUNED: _untold(standing.untold) or _tuned(standing.answer),
        Condition.TRIAL_IN_PROGRESS: _trial(standing),
    }
    return {condition: finding for condition, finding in found.items() if finding is not None}


def _metrics(seen: Round | None) -> Finding | None:
    if seen is None:
        return None
    if not seen.asked:
        return Finding(Truth.UNKNOWN, "NoServingPod", "no pod serves yet, so there is nothing to read")
    if not seen.failures:
        return Finding(Truth.TRUE, SCRAPED, "the metrics of every serving pod were read")
    first = seen.failures[0]
    text = f"{len(seen.failures)} of {seen.asked} pods gave no metrics; {first.pod}: {first.message}"
    remedy = "; check that the operator may reach the pods' port (NetworkPolicy) and that they answer on /metrics"
    if seen.samples:
        return Finding(Truth.TRUE, PARTLY_SCRAPED, text + remedy)
    return Finding(Truth.FALSE, first.reason.value, text + remedy)


def _active(checkpoint: Checkpoint, summary: tuning.Summary | None, known: Mapping[str, Known]) -> Finding | None:
    accepted = checkpoint.accepted
    if accepted is not None and accepted.off:
        return Finding(Truth.FALSE, "SwitchedOff", "the tuner switched speculation off; see the condition Tuned")
    warnings = _warnings(known)
    told = f"; the engines warn: {'; '.join(warnings)}" if warnings else ""
    if summary is None or summary.effective_k is None:
        return None if not told else Finding(Truth.UNKNOWN, next(iter(warnings.values())), told.removeprefix("; "))
    if summary.effective_k <= 0:
        return Finding(Truth.FALSE, "NoDrafts", "the engines draft nothing; check spec.speculator" + told)
    return Finding(Truth.TRUE, "Drafting", "the engines draft and verify" + told)


def _warnings(known: Mapping[str, Known]) -> dict[str, str]:
    """Reason by message of what the engines warn of, each message once, in the order of the pods' names."""
    engines = [known[pod].speculation for pod in sorted(known)]
    found = {warning.message: warning.reason for engine in engines if engine for warning in engine.warnings}
    return dict(islice(found.items(), MOST_WARNINGS))


def _beneficial(standing: Standing, summary: tuning.Summary | None) -> Finding | None:
    asked = standing.checkpoint.asked_start_k
    if summary is None or summary.gain_over_untuned is None or asked is None:
        return None
    gain = summary.gain_over_untuned
    untuned = f"the untuned K of {asked}"
    estimate = f"estimated {gain.mean_percent:+.0f} % tokens per second over {untuned}"
    interval = f"(90 % interval {gain.lower_percent:+.0f} to {gain.upper_percent:+.0f} %)"
    if summary.pairs is not None:
        interval += f"; measured, {tuning.pairs_in_words(summary.pairs)}"
    if gain.upper_percent < 0:
        return Finding(Truth.FALSE, "SlowerThanUntuned", f"{estimate} {interval}; {_what_follows(standing.limits)}")
    if gain.lower_percent > 0:
        return Finding(Truth.TRUE, "FasterThanUntuned", f"{estimate} {interval}")
    return Finding(Truth.TRUE, "AsFastAsUntuned", f"{estimate} {interval}")


def _what_follows(limits: tuning.Limits) -> str:
    """What becomes of a K that loses."""
    if limits.paused:
        return "spec.paused keeps it: resume, and the tuner acts"
    if limits.mode is not tuning.Mode.AUTO:
        return f"spec.tuning.mode {limits.mode.value} keeps it: Auto lets the tuner act, Off goes back to the untuned K"
    if limits.switching is tuning.Switching.LIVE:
        return "the tuner takes it back, or finds a better one"
    return "a restart would change it: the condition Tuned says whether one is allowed"


def _untold(untold: Mapping[str, EngineError]) -> Finding | None:
    if not untold:
        return None
    error = next(iter(untold.values()))
    reason = error.reason if isinstance(error, Refused) else type(error).__name__
    return Finding(Truth.FALSE, reason, f"{len(untold)} engines could not be told the schedule; {error}; trying again")


def _tuned(answer: Answer | None) -> Finding | None:
    if answer is None:
        return None
    if isinstance(answer, tuning.Decision):
        return Finding(Truth.TRUE, answer.reason.value, answer.message)
    truth = Truth.TRUE if answer.reason in AT_REST else Truth.FALSE
    proposal = f" Proposed: {answer.proposal.message}." if answer.proposal else ""
    return Finding(truth, answer.reason.value, answer.message + proposal)


def _restart_trial(trial: RestartTrial, answer: Answer | None) -> str:
    if isinstance(answer, tuning.Hold) and answer.reason in SAID_OF_TRIALS:
        return answer.message
    return f"one replica tries K {trial_in_words(trial)} beside its peers"


def _trial(standing: Standing) -> Finding | None:
    """By what the tuner remembers: the answer of one that has just taken over may be about something else."""
    accepted, tuner = standing.checkpoint.accepted, standing.tuner
    if accepted is not None and accepted.trial is not None:
        return Finding(Truth.TRUE, "RestartTrial", _restart_trial(accepted.trial, standing.answer))
    if standing.answer is None:
        return None
    if tuner is not None and tuner.trial is not None:
        if tuner.trial.untuned:
            return Finding(Truth.TRUE, "Switchback", "the untuned K is in force for a while, see status.switchback")
        return Finding(Truth.TRUE, "LiveTrial", "another schedule is tried for a short while")
    return Finding(Truth.FALSE, "NoTrial", "no trial is running")
