"""Quantities, durations, decisions: what is written can be read."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specdec.api.decision import AcceptedDecision, DecisionError, Rendered, RestartTrial
from specdec.api.manifest import Manifest, reference
from specdec.api.quantities import milli, milliseconds, parse_quantity, parse_seconds
from specdec.api.rules import Rule
from specdec.api.schedule import Schedule, from_table
from specdec.api.status import Status

SCHEDULES = st.lists(st.integers(1, 7), min_size=1, max_size=20).map(from_table)
RENDERED = st.builds(
    Rendered,
    st.dictionaries(st.text("ab", max_size=2), st.integers(), max_size=2),
    st.dictionaries(st.text("ab", max_size=2), st.booleans(), max_size=2),
)
TRIALS = st.builds(RestartTrial, st.integers(0, 7), st.none() | SCHEDULES, st.integers(1, 3), st.none() | RENDERED)
DECISIONS = st.builds(
    AcceptedDecision,
    revision=st.integers(1, 2**53),
    switching=st.sampled_from(["Live", "Restart"]),
    start_k=st.integers(0, 7),
    schedule=st.none() | SCHEDULES,
    off=st.booleans(),
    trial=st.none() | TRIALS,
    rendered=st.none() | RENDERED,
)


@given(DECISIONS)
def test_a_decision_survives_its_checkpoint(decision: AcceptedDecision) -> None:
    assert AcceptedDecision.from_json(decision.to_json()) == decision


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "has format 2, this version reads 1"),
        ({"startK": None}, "cannot be read"),
        ({"schedule": [[2, 3, 7]]}, "does not continue at batch 1"),
        ({"switching": "Sometimes"}, "switching is 'Sometimes'"),
        ({"revision": 0}, "revision is 0"),
        ({"startK": -1}, "start_k is -1"),
        ({"trial": {}}, "startK"),
    ],
)
def test_a_stored_decision_that_cannot_be_is_refused(change: dict[str, Any], said: str) -> None:
    stored = AcceptedDecision(1, "Live", 7).to_json() | change
    with pytest.raises(DecisionError, match=said):
        AcceptedDecision.from_json(stored)


def test_pinning_keeps_what_was_decided() -> None:
    decided = AcceptedDecision(3, "Restart", 5, trial=RestartTrial(4))
    one, other = Rendered({"a": 1}, {}), Rendered({"b": 1}, {})
    pinned = decided.with_rendered(one, other)
    assert (pinned.revision, pinned.start_k, pinned.rendered) == (3, 5, one)
    assert pinned.trial == RestartTrial(4, rendered=other)
    assert AcceptedDecision(1, "Live", 7).with_rendered(one).trial is None


@pytest.mark.parametrize(
    ("text", "value"), [("4", 4), ("500m", 0.5), ("16Gi", 16 * 1024**3), ("1.5k", 1500), (7, 7), ("2n", 2e-9)]
)
def test_quantities_are_read(text: str | int, value: float) -> None:
    assert float(parse_quantity(text)) == value


@pytest.mark.parametrize(("text", "seconds"), [("40ms", 0.04), ("90s", 90.0), ("30m", 1800.0), ("4h", 14400.0)])
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "4x", "-1", "1e3"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity such as 4, 500m or 16Gi"):
        parse_quantity(text)


@pytest.mark.parametrize("text", ["", "0s", "5", "1h30m", "s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_seconds(text)


def test_status_figures_are_written_without_floats() -> None:
    assert (milli(2.93), milliseconds(0.0384)) == ("2930m", "38ms")


def test_status_leaves_out_what_is_not_known() -> None:
    assert Status().to_json() == {}
    assert Status(replicas=0).to_json() == {"replicas": 0}
    assert Status().condition("Ready") is None


def test_a_field_that_a_newer_operator_added_to_the_status_is_ignored() -> None:
    assert Status.model_validate({"replicas": 1, "novelty": 2}).replicas == 1


def test_an_object_is_known_by_its_reference() -> None:
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": "b"}}
    manifest = Manifest(body)
    assert str(reference(body)) == "Secret b/a"
    assert (manifest.kind, manifest.name) == ("Secret", "a")


def test_a_rules_words_are_safe_in_both_languages() -> None:
    rule = Rule(cel="self > 0", holds=lambda value: value > 0, message="it's {self}, 100 % wrong")
    assert rule.say(-1) == "it's -1, 100 % wrong"
    assert rule.to_cel()["messageExpression"] == "'it\\'s %s, 100 %% wrong'.format([self])"


def test_a_schedule_is_kept_tier_by_tier() -> None:
    schedule = from_table([7, 7, 3])
    assert AcceptedDecision(1, "Live", 7, schedule=schedule).to_json()["schedule"] == [[1, 2, 7], [3, 3, 3]]
    assert isinstance(schedule, Schedule)
