"""What new pods start with where K can only be changed by restart."""

from __future__ import annotations

from typing import Any

import pytest

from specdec.api.conditions import EventReason
from specdec.api.schedule import constant
from specdec.controllers.accepting import amended
from specdec.controllers.announcements import steps
from specdec.controllers.checkpoint import Checkpoint
from specdec.controllers.first import first, prior_doubt
from specdec.desired import manifests, pin
from tests.support.resource import resource

NOW = 1000.0
BY_RESTART = {"switching": "Restart"}


def test_pods_that_cannot_be_told_live_start_with_the_priors_schedule_within_the_bounds() -> None:
    parsed = resource(tuning={**BY_RESTART, "min": 2, "max": 5})
    after = amended(Checkpoint(), parsed, NOW)
    assert after.accepted is not None
    assert after.accepted.schedule is not None
    assert set(after.accepted.schedule.ks) <= set(range(2, 6))
    assert after.accepted.schedule.k_at(1) > after.accepted.schedule.k_at(256), "less under load"
    assert (after.history[0].before, after.history[0].reason) == ("7", "FirstSchedule")
    told = steps(parsed, Checkpoint(), after, None)
    assert [event.reason for event in told] == [EventReason.START_VALUE_CHOSEN]
    assert "estimates" in told[0].message
    assert amended(after, parsed, NOW) is after


def test_the_schedule_reaches_the_command_line() -> None:
    parsed = resource(tuning=BY_RESTART)
    after = amended(Checkpoint(), parsed, NOW)
    assert after.accepted is not None
    deployment = next(m.body for m in manifests(parsed, pin(parsed, after.accepted)) if m.kind == "Deployment")
    words = " ".join(deployment["spec"]["template"]["spec"]["containers"][0]["args"])
    assert "num_speculative_tokens_per_batch_size" in words


def test_data_parallel_engines_take_no_schedule_so_they_start_with_one_k() -> None:
    parsed = resource(engine={"parallelism": {"data": 2}})
    chosen = first(parsed)
    assert len(chosen.schedule.tiers) == 1
    after = amended(Checkpoint(), parsed, NOW)
    assert after.accepted is not None
    assert after.accepted.schedule is None


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({}, id="live is possible"),
        pytest.param({"tuning": {**BY_RESTART, "mode": "Off"}}, id="mode Off"),
        pytest.param({"tuning": {**BY_RESTART, "mode": "Recommend"}}, id="mode Recommend"),
    ],
)
def test_elsewhere_they_start_as_the_user_asked_and_nothing_is_told(spec: dict[str, Any]) -> None:
    parsed = resource(**spec)
    after = amended(Checkpoint(), parsed, NOW)
    assert after.accepted is not None
    assert (after.accepted.start_k, after.accepted.schedule, after.history) == (7, None, ())
    assert steps(parsed, Checkpoint(), after, None) == []


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        pytest.param(
            {"model": {"source": {"huggingFace": {"repo": "Qwen/Qwen3-8B"}}}}, "another model", id="another model"
        ),
        pytest.param({"placement": {"gpuProduct": ["NVIDIA-B200"]}}, "other GPUs", id="other GPUs"),
        pytest.param({"engine": {"parallelism": {"tensor": 8}}}, "tensor parallel 8", id="another layout"),
        pytest.param({"speculator": {"method": "eagle3"}}, "the method eagle3", id="another method"),
    ],
)
def test_where_the_prior_may_not_fit_the_users_k_stays_and_it_is_said(spec: dict[str, Any], said: str) -> None:
    parsed = resource(tuning=BY_RESTART, **spec)
    assert prior_doubt(parsed) == f"the packaged step times are not known to fit {said}"
    assert first(parsed).schedule == constant(7, 256)
    after = amended(Checkpoint(), parsed, NOW)
    assert (after.history[0].after, after.history[0].reason) == ("7", "PriorMayNotFit")
    told = steps(parsed, Checkpoint(), after, None)
    assert said in told[0].message
    assert "the pods start with K 7: as asked" in told[0].message


def test_running_pods_whose_record_was_lost_are_not_given_another_schedule() -> None:
    after = amended(Checkpoint(), resource(tuning=BY_RESTART), NOW, pods_made=True)
    assert after.accepted is not None
    assert (after.accepted.start_k, after.accepted.schedule) == (7, None)
