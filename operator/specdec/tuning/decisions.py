"""What the tuner answers: a decision to act, or a hold with its reason. Both are data; acting is the caller's."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import expm1
from typing import Final, Self

from specdec.api.schedule import Schedule

LARGEST_LOG: Final = 2.0  # of a gain that is told; beyond it too little is known
TWO_SIDED_90: Final = 1.6449  # standard deviations to each end of a 90 % interval


class Kind(StrEnum):
    """How a decision reaches the engines."""

    LIVE = "Live"  # PUT the schedule to every engine
    RESTART = "Restart"  # roll the pods with `start_k` and, as the start-up schedule, `schedule`
    DISABLE = "Disable"  # PUT off
    ENABLE = "Enable"  # PUT the schedule after a time without speculation
    TAKE_BACK = "TakeBack"  # PUT the schedule that was in force before a move that did not deliver
    TRIAL = "Trial"  # PUT the schedule for `trial_seconds`; the tuner ends it by itself with a LIVE decision
    RESTART_TRIAL = "RestartTrial"  # restart one pod with `start_k` and `schedule`; ends by RESTART or END_TRIAL
    END_TRIAL = "EndTrial"  # that pod goes back to what the others run with


class Reason(StrEnum):
    """Reasons of decisions and holds, as they stand on conditions and events."""

    # decisions
    BETTER_SCHEDULE = "BetterSchedule"
    BETTER_START_VALUE = "BetterStartValue"
    BROKEN_DRAFTER = "BrokenDrafter"
    NO_K_PAYS = "NoKPays"
    DRAFTER_RETRY = "DrafterRetry"
    GRAPH_LIMIT = "GraphLimit"
    LEARNING = "Learning"
    TRIAL_ENDED = "TrialEnded"
    TRIAL_DELIVERED = "TrialDelivered"
    TRIAL_INCONCLUSIVE = "TrialInconclusive"
    TRIAL_NOT_READY = "TrialNotReady"
    DID_NOT_DELIVER = "DidNotDeliver"
    CONSTRAINT_AT_RISK = "ConstraintAtRisk"
    BOUNDS_CHANGED = "BoundsChanged"
    SWITCHBACK = "Switchback"
    SWITCHBACK_REFUTED = "SwitchbackRefuted"
    # holds
    TUNING_OFF = "TuningOff"
    PAUSED = "Paused"
    RECOMMEND_ONLY = "RecommendOnly"
    SWITCHING_UNAVAILABLE = "SwitchingUnavailable"
    NO_METRICS = "NoMetrics"
    STALE_METRICS = "StaleMetrics"
    SUSPECT_METRICS = "SuspectMetrics"
    TOO_FEW_DRAFTS = "TooFewDrafts"
    ROLLOUT_IN_PROGRESS = "RolloutInProgress"
    COOLDOWN = "Cooldown"
    GAIN_TOO_SMALL = "GainTooSmall"
    GAIN_UNCERTAIN = "GainUncertain"
    NOT_YET_A_DAY = "NotYetADay"
    RESTART_BUDGET_SPENT = "RestartBudgetSpent"
    OUTSIDE_WINDOW = "OutsideWindow"
    WOULD_SATURATE = "WouldSaturate"
    QUIETER_HOUR_AHEAD = "QuieterHourAhead"
    TRIAL_RUNNING = "TrialRunning"
    INVALID_LIMITS = "InvalidLimits"


@dataclass(frozen=True, slots=True)
class Gain:
    """Tokens per second gained at the same batch, percent of what is in force, with a 90 % interval."""

    mean_percent: float
    lower_percent: float
    upper_percent: float

    @classmethod
    def of_logs(cls, mean: float, width: float) -> Self:
        """Of a gain of `mean`, log units, give or take `width`, which may be infinite."""
        return cls(*(100.0 * expm1(min(x, LARGEST_LOG)) for x in (mean, mean - width, mean + width)))

    def taken_back(self) -> Self:
        """What it gains to undo it."""
        return type(self)(-self.mean_percent, -self.upper_percent, -self.lower_percent)


NO_GAIN: Final = Gain(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Decision:
    """One move, not yet made.

    schedule: what shall be in force afterwards; a schedule with K = 0 for DISABLE.
    start_k: only for RESTART and RESTART_TRIAL, the engine's new start value.
    trial_seconds: only for TRIAL.
    """

    kind: Kind
    schedule: Schedule
    gain: Gain
    reason: Reason
    message: str
    at: float
    start_k: int | None = None
    trial_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing is to be done, and why.

    since: seconds since the epoch from which the reason has held, as far as the state remembers.
    proposal: what would be done were it not for the reason (always given in mode Recommend when there is one).
    """

    reason: Reason
    message: str
    since: float
    proposal: Decision | None = None


class Verdict(StrEnum):
    """Outcome of a move, judged on what was measured after it."""

    PENDING = "Pending"
    DELIVERED = "Delivered"
    INCONCLUSIVE = "Inconclusive"
    DID_NOT_DELIVER = "DidNotDeliver"


@dataclass(frozen=True, slots=True)
class Move:
    """A decision that was acted on, with its prediction and, once judged, its outcome.

    start_ks: the engines' start value before and after; None of a move that an earlier version stored.
    """

    at: float
    kind: Kind
    reason: Reason
    before: Schedule
    after: Schedule
    predicted: Gain
    realised: Gain | None = None
    verdict: Verdict = Verdict.PENDING
    start_ks: tuple[int, int] | None = None
