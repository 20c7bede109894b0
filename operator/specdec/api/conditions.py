"""Condition types, condition reasons and event reasons: the words users alert on, in one place.

`Reconciling` and `Stalled` follow kstatus (abnormal is true); all others are true when all is well, except
`TrialInProgress`, which states a fact.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Condition(StrEnum):
    """Types of `.status.conditions`, in the order in which they are written."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    MODEL_CACHED = "ModelCached"
    CAPACITY_AVAILABLE = "CapacityAvailable"
    METRICS_AVAILABLE = "MetricsAvailable"
    SPECULATION_ACTIVE = "SpeculationActive"
    SPECULATION_BENEFICIAL = "SpeculationBeneficial"
    TUNED = "Tuned"
    TRIAL_IN_PROGRESS = "TrialInProgress"


class Truth(StrEnum):
    """Status of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Reason(StrEnum):
    """Reasons of the conditions that pods and children decide; the tuner's reasons come with its report."""

    ALL_REPLICAS_READY = "AllReplicasReady"
    REPLICAS_NOT_READY = "ReplicasNotReady"
    SCALED_TO_ZERO = "ScaledToZero"
    UP_TO_DATE = "UpToDate"
    ROLLOUT_IN_PROGRESS = "RolloutInProgress"
    ROLLOUT_NOT_OBSERVED = "RolloutNotObserved"
    PAUSED = "Paused"
    PROGRESSING = "Progressing"
    INVALID_SPEC = "InvalidSpec"
    CHILD_REFUSED = "ChildRefused"
    CHILD_NAME_TAKEN = "ChildNameTaken"
    SECRET_MISSING = "SecretMissing"
    CLAIM_MISSING = "ClaimMissing"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    CONTAINER_CONFIG_INVALID = "ContainerConfigInvalid"
    WEIGHTS_NOT_FOUND = "WeightsNotFound"
    HUB_UNREACHABLE = "HubUnreachable"
    ACCESS_DENIED = "AccessDenied"
    DRAFTER_DOES_NOT_FIT = "DrafterDoesNotFit"
    OUT_OF_GPU_MEMORY = "OutOfGpuMemory"
    OUT_OF_MEMORY = "OutOfMemory"
    ENGINE_CRASHED = "EngineCrashed"
    START_TOO_SLOW = "StartTooSlow"
    POD_REFUSED = "PodRefused"
    ROLLOUT_DEADLINE_EXCEEDED = "RolloutDeadlineExceeded"
    PODS_SCHEDULED = "PodsScheduled"
    NO_PODS = "NoPods"
    NO_MATCHING_NODE = "NoMatchingNode"
    INSUFFICIENT_GPUS = "InsufficientGpus"
    VOLUME_NOT_BOUND = "VolumeNotBound"
    UNSCHEDULABLE = "Unschedulable"
    AWAITING_RELEASE = "AwaitingRelease"
    CACHE_FILLED = "CacheFilled"
    CACHE_FILLING = "CacheFilling"
    CACHE_IS_EPHEMERAL = "CacheIsEphemeral"
    MODEL_ON_VOLUME = "ModelOnVolume"
    NOT_YET_MEASURED = "NotYetMeasured"


class EventReason(StrEnum):
    """Reasons of the events on a resource; a condition that turns bad is told as an event under its own reason."""

    CHILDREN_APPLIED = "ChildrenApplied"
    POD_TEMPLATE_CHANGED = "PodTemplateChanged"
    BECAME_READY = "BecameReady"
    NO_LONGER_READY = "NoLongerReady"
    RECOVERED = "Recovered"
    SCHEDULE_CHANGED = "ScheduleChanged"
    SCHEDULE_REVERTED = "ScheduleReverted"
    START_VALUE_CHOSEN = "StartValueChosen"
    START_VALUE_CHANGED = "StartValueChanged"
    SPECULATION_SWITCHED_OFF = "SpeculationSwitchedOff"
    SPECULATION_SWITCHED_ON = "SpeculationSwitchedOn"
    DRAFTER_BROKEN = "DrafterBroken"
    LATENCY_TARGET_MISSED = "LatencyTargetMissed"
    TRIAL_STARTED = "TrialStarted"
    TRIAL_ENDED = "TrialEnded"


REASONS: Final = {
    Condition.READY: (Reason.ALL_REPLICAS_READY, Reason.SCALED_TO_ZERO, Reason.REPLICAS_NOT_READY, Reason.INVALID_SPEC),
    Condition.RECONCILING: (Reason.UP_TO_DATE, Reason.ROLLOUT_IN_PROGRESS, Reason.ROLLOUT_NOT_OBSERVED, Reason.PAUSED),
    Condition.STALLED: (
        Reason.PROGRESSING,
        Reason.INVALID_SPEC,
        Reason.CHILD_REFUSED,
        Reason.CHILD_NAME_TAKEN,
        Reason.SECRET_MISSING,
        Reason.CLAIM_MISSING,
        Reason.IMAGE_PULL_FAILED,
        Reason.CONTAINER_CONFIG_INVALID,
        Reason.WEIGHTS_NOT_FOUND,
        Reason.HUB_UNREACHABLE,
        Reason.ACCESS_DENIED,
        Reason.DRAFTER_DOES_NOT_FIT,
        Reason.OUT_OF_GPU_MEMORY,
        Reason.OUT_OF_MEMORY,
        Reason.ENGINE_CRASHED,
        Reason.START_TOO_SLOW,
        Reason.POD_REFUSED,
        Reason.ROLLOUT_DEADLINE_EXCEEDED,
    ),
    Condition.MODEL_CACHED: (
        Reason.CACHE_FILLED,
        Reason.MODEL_ON_VOLUME,
        Reason.CACHE_FILLING,
        Reason.CACHE_IS_EPHEMERAL,
    ),
    Condition.CAPACITY_AVAILABLE: (
        Reason.PODS_SCHEDULED,
        Reason.NO_PODS,
        Reason.NO_MATCHING_NODE,
        Reason.INSUFFICIENT_GPUS,
        Reason.VOLUME_NOT_BOUND,
        Reason.UNSCHEDULABLE,
        Reason.AWAITING_RELEASE,
    ),
}
"""Which reasons a condition may have. Those of the tuner's conditions come with its report."""
