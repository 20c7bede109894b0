"""The user's bounds and policy for the tuner."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import CroniterError, croniter
from pydantic import Field

from specdec.api.quantities import Duration
from specdec.api.rules import Model, Rule, matching
from specdec.api.speculator import MAX_K, MIN_K, K


class Mode(StrEnum):
    """What the tuner may do."""

    AUTO = "Auto"
    RECOMMEND = "Recommend"
    OFF = "Off"


class SwitchingPolicy(StrEnum):
    """How a new K may reach the engine."""

    AUTOMATIC = "Automatic"
    LIVE = "Live"
    RESTART = "Restart"


class BrokenDrafter(StrEnum):
    """What to do when the drafter's tokens are hardly ever accepted."""

    DISABLE = "Disable"
    HOLD = "Hold"


class Metric(StrEnum):
    """A latency as the client sees it."""

    TIME_PER_OUTPUT_TOKEN = "TimePerOutputToken"
    TIME_TO_FIRST_TOKEN = "TimeToFirstToken"
    INTER_TOKEN_LATENCY = "InterTokenLatency"


class Constraint(Model):
    """One latency target."""

    metric: Metric
    """Which latency."""
    percentile: Annotated[int, Field(ge=1, le=99)] = 95
    """Percentile that must meet the target."""
    max: Duration
    """The target."""


class Objective(Model):
    """The tuner maximises tokens per second within these targets."""

    constraints: Annotated[
        tuple[Constraint, ...], Field(max_length=8, json_schema_extra={"x-kubernetes-list-map-keys": ["metric"]})
    ] = ()
    """Latency targets, at most one per metric."""


def _cron_field(value: str) -> str:
    part = rf"(?:[*]|{value}(?:-{value})?)(?:/[1-9][0-9]?)?"
    return f"{part}(?:,{part})*"


CRON: Final = " +".join(
    _cron_field(value)
    for value in (
        "[0-5]?[0-9]",
        "(?:1?[0-9]|2[0-3])",
        "(?:0?[1-9]|[12][0-9]|3[01])",
        "(?:0?[1-9]|1[0-2]|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)",
        "(?:[0-7]|sun|mon|tue|wed|thu|fri|sat)",
    )
)


def _comes_up(schedule: str) -> bool:
    """Whether there is such a day at all; there is no 30 February."""
    try:
        croniter(schedule, datetime(2000, 1, 1, tzinfo=UTC)).get_next()
    except CroniterError:
        return False
    return True


def _is_time_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


class MaintenanceWindow(Model):
    """When restarts are allowed."""

    schedule: Annotated[
        str,
        Field(max_length=128),
        matching(
            CRON,
            "is not a cron schedule; write five fields: minute hour day-of-month month day-of-week, such as 0 2 * * *",
            _comes_up,
        ),
    ]
    """Begin of the window: a cron schedule of five fields."""
    duration: Duration
    """Length of the window."""
    time_zone: Annotated[
        str,
        Field(max_length=64),
        matching(
            r"[A-Za-z][-A-Za-z0-9_+]*(?:/[-A-Za-z0-9_+]+)*",
            "is not a time zone; write an IANA name such as UTC or Europe/Zurich",
            _is_time_zone,
        ),
    ] = "UTC"
    """IANA time zone of the schedule."""


class Disruption(Model):
    """What tuning may cost in restarts."""

    max_restarts_per_day: Annotated[int, Field(ge=0, le=24)] = 1
    """Changes by restart in any 24 hours, at least 24 h divided by this apart; 0 forbids them. A trial on one replica
    and the rollout that follows it count as one. The first waits for a full day of traffic."""
    windows: Annotated[
        tuple[MaintenanceWindow, ...],
        Field(max_length=16, json_schema_extra={"x-kubernetes-list-map-keys": ["schedule", "timeZone"]}),
    ] = ()
    """When they may begin. If empty, at any time in the first week, and then in hours that are usually quiet."""


class Switchback(Model):
    """A randomised test of tuning itself, while it serves. Its outcome is `status.switchback`."""

    share_percent: Annotated[int, Field(ge=1, le=50)] = 2
    """Share of the time in which the untuned K is in force, for `window` at a time, at moments drawn by lot. Costs this
    share of what tuning gains. Above some 20 it is not reached, since the times before and after count too. Left out
    while the untuned K would cost more than 35 % or break a latency target."""


class Tuning(Model):
    """Bounds and policy of the tuner. Changing anything here restarts nothing, except `switching`, and `mode: "Off"`
    after K was tuned by restart."""

    mode: Mode = Mode.AUTO
    """Auto acts, Recommend only reports, Off keeps spec.speculator.numSpeculativeTokens. Write "Off" in quotes: YAML
    takes the bare word for a boolean."""
    switching: SwitchingPolicy = SwitchingPolicy.AUTOMATIC
    """How a new K reaches the engine. Automatic: live where the engine can, else by restart if `disruption` allows it.
    Changing to Restart or Live restarts pods that run the other way, once; Automatic keeps the way that they run."""
    min: K = MIN_K
    """Smallest K that the tuner may choose, unless it switches speculation off, see onBrokenDrafter."""
    max: K = MAX_K
    """Largest K that the tuner may choose; spec.speculator.numSpeculativeTokens bounds it as well."""
    objective: Objective = Objective()
    """What is maximised, and within which latency targets."""
    min_gain_percent: Annotated[int, Field(ge=0, le=50)] = 3
    """Gain that a trial on one replica must measure before the others are restarted; where there is but one replica,
    gain that must be promised at the lower confidence bound. Live changes need far less."""
    window: Duration = "1m"
    """Half-life of the figures in status and of the drafts for minDrafts; length of what is compared in a switchback
    and by a replica on trial. What was learned fades by itself."""
    cooldown: Duration = "20s"
    """Shortest time between two live changes of K. Restarts are bounded by `disruption`."""
    min_drafts: Annotated[int, Field(ge=1, le=1000000000)] = 1000
    """Drafts that `window` must hold before anything is decided."""
    disruption: Disruption = Disruption()
    """What tuning may cost in restarts."""
    on_broken_drafter: BrokenDrafter = BrokenDrafter.DISABLE
    """Disable switches speculation off where the engine can, Hold stays at the smallest K. Both raise an alarm.
    Disable also switches it off while every K loses at the load of the moment, by exact counters."""
    switchback: Switchback | None = None
    """Proves what tuning gains: now and then the untuned K comes back for a while and is held against the times
    before and after it, on the same pods at equal batch. Where that shows that tuning loses, the untuned K stays
    for a day. Only with live switching; left out, nothing is tested. `switchback: {}` takes the default share."""

    rules = (
        Rule(
            cel="self.min <= self.max",
            holds=lambda self: self.min <= self.max,
            message="spec.tuning.min is {self.min}, but spec.tuning.max is {self.max}; lower min or raise max",
            path=".min",
        ),
    )
