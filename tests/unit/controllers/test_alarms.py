"""What a hold warns of, and how often."""

from __future__ import annotations

from typing import Any

import pytest

from specdec import tuning
from specdec.api.conditions import EventReason
from specdec.api.decision import AcceptedDecision
from specdec.controllers.announcements import alarm
from specdec.controllers.checkpoint import Checkpoint
from specdec.controllers.reconcile import ALARM_AGAIN_SECONDS, Reconciler
from specdec.controllers.standing import Standing

ACCEPTED = AcceptedDecision(1, "Live", 7)


def hold(reason: tuning.Reason, message: str = "it is so") -> tuning.Hold:
    return tuning.Hold(reason, message, 0.0)


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (tuning.Reason.BROKEN_DRAFTER, EventReason.DRAFTER_BROKEN),
        (tuning.Reason.CONSTRAINT_AT_RISK, EventReason.LATENCY_TARGET_MISSED),
        (tuning.Reason.GAIN_TOO_SMALL, None),
    ],
)
def test_which_holds_warn(reason: tuning.Reason, told: EventReason | None) -> None:
    event = alarm(hold(reason), ACCEPTED)
    assert (event and event.reason) == told
    assert event is None or event.type == "Warning"


def test_what_is_off_has_been_told_already() -> None:
    off = AcceptedDecision(2, "Live", 7, off=True)
    assert alarm(hold(tuning.Reason.BROKEN_DRAFTER), off) is None
    assert alarm(None, None) is None


def test_a_warning_whose_figures_change_is_told_once_an_hour() -> None:
    clock = [1000.0]
    nothing: Any = None
    reconciler = Reconciler(nothing, nothing, nothing, nothing, nothing, nothing, nothing, now=lambda: clock[0])
    standing, told = Standing("uid", Checkpoint(accepted=ACCEPTED)), []
    for tick in range(int(2 * ALARM_AGAIN_SECONDS / 15)):
        clock[0] += 15.0
        told += reconciler._alarms(standing, hold(tuning.Reason.BROKEN_DRAFTER, f"next try in {tick} s"))
    assert len(told) == 2
