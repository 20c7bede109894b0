"""The accepted decision: what the fleet shall run with, as it is kept across restarts of the operator.

The tuner recommends, the controllers accept; `desired` renders pods from it and the live endpoint is told of it.
It is data only, and `to_json`/`from_json` are its form in the checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Self

from specdec.api.schedule import OFF_K, Schedule, Tier

FORMAT: Final = 1

Switching = Literal["Live", "Restart"]


class DecisionError(ValueError):
    """A stored decision that this version cannot read."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A pod template as it was last rendered, kept so that a new operator version restarts nothing.

    template: `spec.template` of the Deployment.
    inputs: what of the resource and of the decision it was rendered from, see `desired.inputs`.
    """

    template: dict[str, Any]
    inputs: dict[str, Any]


@dataclass(frozen=True, slots=True)
class RestartTrial:
    """One canary Deployment beside the stable one, taken out of the same number of replicas.

    start_k: its engine's start value, 0 for an engine without speculation.
    schedule: its start-up schedule, or None for start_k at every batch size.
    """

    start_k: int
    schedule: Schedule | None = None
    replicas: int = 1
    rendered: Rendered | None = None


@dataclass(frozen=True, slots=True)
class AcceptedDecision:
    """What is to be in force.

    revision: grows with each acceptance; also the revision told to the live endpoint. At least 1.
    switching: how K reaches the engines. "Live": through the endpoint; "Restart": through the pod template.
    start_k: start value of the stable engines (`num_speculative_tokens`), 0 for an engine without speculation.
    schedule: Live: what the endpoint is to be told, None leaves the engines at what they started with.
        Restart: the start-up schedule, None for start_k at every batch size.
    off: speculation is switched off (Live only; by restart `start_k` is 0). `schedule` is kept for the way back.
    trial: the restart trial in progress, if any.
    rendered: the stable pod template last rendered, None before the first.
    """

    revision: int
    switching: Switching
    start_k: int
    schedule: Schedule | None = None
    off: bool = False
    trial: RestartTrial | None = None
    rendered: Rendered | None = None

    def __post_init__(self) -> None:
        if self.revision < 1:
            raise DecisionError(f"revision is {self.revision}, but revisions start at 1")
        if self.start_k < OFF_K:
            raise DecisionError(f"start_k is {self.start_k}, but K is at least {OFF_K}")

    def with_rendered(self, stable: Rendered, trial: Rendered | None = None) -> Self:
        """The same decision with its templates pinned."""
        return replace(self, rendered=stable, trial=self.trial and replace(self.trial, rendered=trial))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data; `from_json` is the inverse."""
        return {
            "format": FORMAT,
            "revision": self.revision,
            "switching": self.switching,
            "startK": self.start_k,
            "schedule": _schedule_to_json(self.schedule),
            "off": self.off,
            "trial": _trial_to_json(self.trial),
            "rendered": _rendered_to_json(self.rendered),
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises DecisionError when it is of another format, incomplete or contradictory.
        """
        if stored.get("format") != FORMAT:
            raise DecisionError(f"stored decision has format {stored.get('format')!r}, this version reads {FORMAT}")
        try:
            return cls(
                revision=int(stored["revision"]),
                switching=_switching(stored["switching"]),
                start_k=int(stored["startK"]),
                schedule=_schedule_from_json(stored["schedule"]),
                off=bool(stored["off"]),
                trial=_trial_from_json(stored["trial"]),
                rendered=_rendered_from_json(stored["rendered"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DecisionError(f"stored decision cannot be read: {error}") from error


def _switching(value: object) -> Switching:
    if value == "Live":
        return "Live"
    if value == "Restart":
        return "Restart"
    raise DecisionError(f"switching is {value!r}, but must be Live or Restart")


def _schedule_to_json(schedule: Schedule | None) -> list[list[int]] | None:
    if schedule is None:
        return None
    return [[tier.from_batch, tier.to_batch, tier.num_speculative_tokens] for tier in schedule.tiers]


def _schedule_from_json(stored: list[list[int]] | None) -> Schedule | None:
    return None if stored is None else Schedule(tuple(Tier(*map(int, row)) for row in stored))


def _rendered_to_json(rendered: Rendered | None) -> dict[str, Any] | None:
    return None if rendered is None else {"template": rendered.template, "inputs": rendered.inputs}


def _rendered_from_json(stored: dict[str, Any] | None) -> Rendered | None:
    return None if stored is None else Rendered(dict(stored["template"]), dict(stored["inputs"]))


def _trial_to_json(trial: RestartTrial | None) -> dict[str, Any] | None:
    if trial is None:
        return None
    return {
        "startK": trial.start_k,
        "schedule": _schedule_to_json(trial.schedule),
        "replicas": trial.replicas,
        "rendered": _rendered_to_json(trial.rendered),
    }


def _trial_from_json(stored: dict[str, Any] | None) -> RestartTrial | None:
    if stored is None:
        return None
    return RestartTrial(
        start_k=int(stored["startK"]),
        schedule=_schedule_from_json(stored["schedule"]),
        replicas=int(stored["replicas"]),
        rendered=_rendered_from_json(stored["rendered"]),
    )
