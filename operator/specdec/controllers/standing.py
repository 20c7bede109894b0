"""What is kept in memory of one resource between its passes. All of value in it can be rebuilt from its checkpoint."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from specdec import tuning
from specdec.api.report import TunerReport
from specdec.controllers.checkpoint import Checkpoint
from specdec.controllers.engines import Known, Round
from specdec.engine.errors import EngineError
from specdec.observed import Refusal


@dataclass(slots=True)
class Standing:
    """One resource, as identified by `uid`: one made anew under the same name starts from nothing.

    checkpoint: as last stored. talk: the round of scrapes on its way; seen: the last that came back; unread: whether
    the tuner has yet to see it. due: loop time of the next round. saved_drafts: drafts at the last save of `tuner`.
    token: the control token, None until it is known; token_at: loop time at which the Secret was last read, None to
    read it at once; token_refusals: what kept it from being read or made.
    untold: why an engine could not be told what is accepted, by pod.
    refusals: children that could not be written in the last pass.
    alarmed: when the operator last warned, seconds since the epoch, by the event's reason.
    report_at: loop time at which `report` was made; report_facts: what it was made for.
    summed_up: the tuner's state and limits, and the summary made of them.
    """

    uid: str
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    tuner: tuning.State | None = None
    answer: tuning.Decision | tuning.Hold | None = None
    limits: tuning.Limits = field(default_factory=tuning.Limits)
    known: dict[str, Known] = field(default_factory=dict)
    talk: asyncio.Task[Round] | None = None
    seen: Round | None = None
    unread: bool = False
    untold: dict[str, EngineError] = field(default_factory=dict)
    due: float = 0.0
    saved_drafts: float = 0.0
    saved_at: float = 0.0
    token: str | None = None
    token_at: float | None = None
    token_refusals: tuple[Refusal, ...] = ()
    api_key: str | None = None
    refusals: tuple[Refusal, ...] = ()
    alarmed: dict[str, float] = field(default_factory=dict)
    report: TunerReport = field(default_factory=TunerReport)
    report_at: float = 0.0
    report_facts: tuple[object, object] | None = None
    summed_up: tuple[tuning.State, tuning.Limits, tuning.Summary] | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing is known that the checkpoint does not hold."""
        return self.tuner is None and self.talk is None and not self.known

    def summary(self) -> tuning.Summary | None:
        """What the tuner knows, made once for each state; None before it has seen anything."""
        if self.tuner is None:
            return None
        of = self.summed_up
        if of is None or of[0] is not self.tuner or of[1] is not self.limits:
            of = (self.tuner, self.limits, tuning.summarise(self.tuner, self.limits))
            self.summed_up = of
        return of[2]

    def drop(self) -> None:
        """End what is under way."""
        if self.talk is not None:
            self.talk.cancel()
