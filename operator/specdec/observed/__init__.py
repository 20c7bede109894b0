"""Children and pods -> rollout progress, conditions, status and events. Pure: time is an argument."""

from specdec.observed.progress import Progress, progress
from specdec.observed.snapshot import Refusal, Snapshot
from specdec.observed.status import Observation, invalid, status

__all__ = ["Observation", "Progress", "Refusal", "Snapshot", "invalid", "progress", "status"]
