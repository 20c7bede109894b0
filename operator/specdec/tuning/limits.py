"""What a recommendation must respect. The caller reads these from the resource, the cluster and the engines."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

DEFAULT_START_K: Final = 7
HORIZON_SECONDS: Final = 7 * 86_400.0  # over which a restart must have paid for itself


class Mode(StrEnum):
    """Auto acts; Recommend only says what it would do; Off does neither."""

    AUTO = "Auto"
    RECOMMEND = "Recommend"
    OFF = "Off"


class Switching(StrEnum):
    """How a new K can reach the engines now; NONE where neither way is open."""

    LIVE = "Live"
    RESTART = "Restart"
    NONE = "None"


class OnBrokenDrafter(StrEnum):
    """What follows when the drafter does not fit its target."""

    DISABLE = "Disable"
    HOLD = "Hold"


class LatencyMetric(StrEnum):
    """Latencies that an objective may bound."""

    TIME_PER_OUTPUT_TOKEN = "TimePerOutputToken"  # noqa: S105
    TIME_TO_FIRST_TOKEN = "TimeToFirstToken"  # noqa: S105
    INTER_TOKEN_LATENCY = "InterTokenLatency"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Constraint:
    """`metric` at `percentile` (1..100) shall stay at or below `max_seconds`."""

    metric: LatencyMetric
    percentile: int
    max_seconds: float


@dataclass(frozen=True, slots=True)
class Disruption:
    """What restarts may cost now: computed by the caller from the resource's windows and today's restarts.

    any_time: there are no windows, so the tuner may wait for a quiet hour by itself.
    """

    restarts_left_today: int = 0
    window_open: bool = False
    any_time: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds and facts of one resource at one instant.

    min_k, max_k: the user's bounds of num_speculative_tokens, both inclusive.
    min_gain_percent: least expected gain for a restart. live_margin_percent: the same for a live change.
    cooldown_seconds: least time between two restarts; live changes wait `live_cooldown_seconds`.
    min_drafts: drafts that must have been seen inside the window before anything is decided.
    graph_capture_tokens: the engine's CUDA graph limit in tokens per step; None when there is none or it is unknown.
    metrics_age_seconds: age of the newest complete scrape; None when there never was one.
    restart_seconds: how long one pod takes from leaving service to serving again.
    max_unavailable: pods that a rolling restart takes out at once.
    most_tiers: of a start-up schedule; 1 for engines that take none by batch size.
    serving: replicas that serve now; None where that is not known.
    trial_possible: whether a start value can be tried on one replica while others serve as they did.
    trial_start_seconds: how long that replica may take until it serves.
    switchback_share: of the time, in which the untuned K is in force to be held against the tuned one; 0..1.
    switchback_seconds: for how long at a time.
    """

    min_k: int = 1
    max_k: int = DEFAULT_START_K
    mode: Mode = Mode.AUTO
    paused: bool = False
    switching: Switching = Switching.LIVE
    constraints: tuple[Constraint, ...] = ()
    min_gain_percent: float = 3.0
    live_margin_percent: float = 0.1
    cooldown_seconds: float = 86_400.0
    live_cooldown_seconds: float = 20.0
    min_drafts: int = 500
    disruption: Disruption = Disruption()
    on_broken_drafter: OnBrokenDrafter = OnBrokenDrafter.DISABLE
    graph_capture_tokens: int | None = None
    max_num_seqs: int = 256
    max_num_batched_tokens: int | None = None
    replicas: int = 1
    rollout_in_progress: bool = False
    metrics_age_seconds: float | None = 0.0
    max_metrics_age_seconds: float = 90.0
    restart_seconds: float = 480.0
    max_unavailable: int = 1
    most_tiers: int = 6
    serving: int | None = None
    trial_possible: bool = False
    trial_start_seconds: float = 3_600.0
    switchback_share: float = 0.0
    switchback_seconds: float = 60.0

    @property
    def restart_cost_percent(self) -> float:
        """Share of the fleet's capacity over the horizon that rolling all pods once costs, percent."""
        rounds = -(-self.replicas // max(self.max_unavailable, 1))
        lost = min(self.max_unavailable / max(self.replicas, 1), 1.0) * rounds * self.restart_seconds
        return 100.0 * lost / HORIZON_SECONDS
