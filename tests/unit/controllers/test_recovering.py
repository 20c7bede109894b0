"""What is accepted where the checkpoint is lost: what runs."""

from __future__ import annotations

from typing import Any

import pytest

from specdec import desired
from specdec.api.decision import AcceptedDecision
from specdec.api.names import ANNOTATION_INPUTS
from specdec.api.schedule import Schedule, Tier
from specdec.controllers.accepting import amended
from specdec.controllers.checkpoint import Checkpoint
from specdec.controllers.recovering import recovered
from tests.support.resource import resource

TIERED = Schedule((Tier(1, 16, 6), Tier(17, 256, 2)))


def live(accepted: AcceptedDecision, **spec: Any) -> dict[str, Any]:
    """The Deployment that stands for `accepted`."""
    made = desired.manifests(resource(**spec), accepted)
    return next(manifest.body for manifest in made if manifest.kind == "Deployment")


@pytest.mark.parametrize(
    ("accepted", "spec"),
    [
        pytest.param(AcceptedDecision(1, "Live", 7), {}, id="as first made"),
        pytest.param(AcceptedDecision(1, "Restart", 5), {}, id="a start value that was tuned by restart"),
        pytest.param(AcceptedDecision(1, "Restart", 4, TIERED), {}, id="a start-up schedule that was decided"),
        pytest.param(AcceptedDecision(1, "Restart", 0), {"tuning": {"switching": "Restart"}}, id="off, by restart"),
        pytest.param(AcceptedDecision(1, "Restart", 4), {"tuning": {"switching": "Restart"}}, id="one K, by restart"),
    ],
)
def test_what_runs_is_what_is_accepted(accepted: AcceptedDecision, spec: dict[str, Any]) -> None:
    found = recovered(resource(**spec), [live(accepted, **spec)])
    assert found.accepted == desired.pin(resource(**spec), accepted)
    assert found.asked_start_k == 7


def test_a_start_value_that_only_an_edit_can_have_changed_is_followed() -> None:
    asked = resource(tuning={"switching": "Live"})
    found = recovered(asked, [live(AcceptedDecision(1, "Live", 5), tuning={"switching": "Live"})])
    after = amended(found, asked, 0.0).accepted
    assert after is not None
    assert (after.start_k, after.switching) == (7, "Live")


def test_a_live_schedule_is_forgotten_and_the_engines_keep_their_start_value() -> None:
    found = recovered(resource(), [live(AcceptedDecision(9, "Live", 7, TIERED))])
    assert found.accepted is not None
    assert (found.accepted.start_k, found.accepted.schedule, found.accepted.switching) == (7, None, "Live")


@pytest.mark.parametrize("noted", [None, "{", "[]", "{}", '{"start":{"k":"x"}}'])
def test_without_a_note_nothing_is_known(noted: str | None) -> None:
    body = live(AcceptedDecision(1, "Live", 7))
    body["metadata"]["annotations"].pop(ANNOTATION_INPUTS)
    if noted is not None:
        body["metadata"]["annotations"][ANNOTATION_INPUTS] = noted
    assert recovered(resource(), [body]) == Checkpoint()
    assert recovered(resource(), []) == Checkpoint()
