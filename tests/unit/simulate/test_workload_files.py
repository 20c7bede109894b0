"""A workload file says what is meant, or is told by its field what cannot be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from specdec.simulate import suite, workloads
from specdec.simulate.workloads import HOUR, NAMES, Scrape, Workload, WorkloadError


def document(**changed: Any) -> dict[str, Any]:
    return {"seconds": 86_400, "load": [[0, 0.3]], "mix": [[0, {"chat": 1.0}]]} | changed


def read(**changed: Any) -> Workload:
    return workloads.parse(document(**changed), "mine.json")


def test_a_load_of_two_days_is_not_folded_into_one() -> None:
    ramp = read(seconds=48 * HOUR, load=[[0, 1], [24, 3], [48, 5]])
    assert ramp.period_hours == 48
    assert ramp.load_at(np.array([0.0, 12.0, 24.0, 36.0, 47.999]) * HOUR) == pytest.approx([1, 2, 3, 4, 5], abs=1e-3)
    assert ramp.load_at(np.array([60.0]) * HOUR) == pytest.approx(2)


@pytest.mark.parametrize(
    ("load", "period"),
    [([[0, 1]], 24), ([[0, 1], [22, 2]], 24), ([[0, 1], [24, 1]], 24), ([[0, 1], [30, 2]], 48)],
)
def test_a_load_repeats_after_as_many_whole_days_as_it_spans(load: Any, period: float) -> None:
    assert read(load=load).period_hours == period


def test_a_load_comes_back_to_its_first_knot_within_the_period() -> None:
    daily = read(load=[[0, 1.0], [18, 4.0]])
    assert daily.load_at(np.array([21.0, 45.0]) * HOUR) == pytest.approx([2.5, 2.5])


def test_no_graph_limit_is_none_and_the_packaged_workloads_name_theirs() -> None:
    assert read().graph_capture_tokens is None
    assert read(graph_capture_tokens=None).graph_capture_tokens is None
    limits = {name: workloads.find(name).graph_capture_tokens for name in NAMES}
    assert limits == dict.fromkeys(NAMES, 2048) | {"cliff": 512}


@pytest.mark.parametrize("owner", [Workload, Scrape])
def test_every_field_says_what_it_must_be(owner: Any) -> None:
    assert all(field.description for field in owner.__pydantic_fields__.values())


def test_a_mix_that_repeats_does_so_too_where_its_begin_was_cut_off() -> None:
    whole = read(
        seconds=7 * 86_400, drift_at_hours=84, mix=[[0, {"a": 1, "b": 0}], [24, {"a": 0, "b": 1}]], mix_period_hours=24
    )
    short = suite.shortened(whole, 20.0)
    begins = 84 * HOUR - 10 * HOUR
    for at in (0.0, 5 * HOUR, 19 * HOUR):
        assert short.shares_at(at) == pytest.approx(whole.shares_at(at + begins))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        pytest.param({"seconds": "3600"}, 'seconds is "3600"; it must be a number above zero', id="text"),
        pytest.param({"seconds": True}, "seconds is true; it must be a number", id="a flag is no number"),
        pytest.param({"seconds": float("nan")}, "seconds is NaN; it must be a number", id="not a number"),
        pytest.param({"period_hours": 0}, "period_hours is 0; it must be a number above zero", id="no period"),
        pytest.param({"period_hours": None}, "period_hours is null; it must be a number", id="null period"),
        pytest.param({"mix_period_hours": 0}, "mix_period_hours is 0; it must be a number above zero", id="mix"),
        pytest.param({"max_num_seqs": 128.0}, "max_num_seqs is 128.0; it must be a whole number", id="decimal point"),
        pytest.param({"prompt_tokens": [800, 1, 2]}, "prompt_tokens is [800, 1, 2]; it must be [mean,", id="three"),
        pytest.param({"output_tokens": [1, 1]}, "the mean above 1", id="no output"),
        pytest.param({"balance": [0, 0]}, "balance is [0, 0]; it must be a list of numbers of zero or more", id="idle"),
        pytest.param({"relative": "no"}, 'relative is "no"; it must be true or false', id="no flag"),
        pytest.param({"scrape": {"interval": 0}}, "scrape.interval is 0; it must be a number above zero", id="tick"),
        pytest.param({"scrape": {"lost": 2}}, "scrape.lost is 2; it must be a share from 0 to 1", id="lost"),
        pytest.param({"scrape": {"every": 15}}, "unknown field 'scrape.every'", id="unknown in scrape"),
        pytest.param({"scrape": 15}, "scrape is 15; it must be an object", id="scrape"),
        pytest.param({"load": []}, "load is []; it must be a list of [hour, load]", id="no load"),
        pytest.param({"load": [[0, -1]]}, "load is [[0, -1]]; it must be", id="negative load"),
        pytest.param({"load": [[-1, 1]]}, "the hours of load must be zero or more, but one is -1", id="negative hour"),
        pytest.param({"load": [[0, 1], [9, 2], [6, 3]]}, "the hours of load must ascend, but hour 6", id="descends"),
        pytest.param({"mix": [[0, {"a": 1}], [0, {"b": 1}]]}, "the hours of mix must ascend, but hour 0", id="stays"),
        pytest.param({"mix": [[0, {}]]}, "mix needs a share above zero at every hour, but has none at hour 0", id="0"),
        pytest.param(
            {"load": [[0, 1], [48, 2]], "period_hours": 24},
            "load goes on to hour 48, but period_hours is 24; set it to 48 or more",
            id="a load beyond its period",
        ),
        pytest.param(
            {"mix": [[0, {"a": 1}], [30, {"b": 1}]], "mix_period_hours": 24},
            "mix goes on to hour 30, but mix_period_hours is 24; set it to 30 or more",
            id="a mix beyond its period",
        ),
        pytest.param({"drift_at_hours": 30}, "drift_at_hours is 30, but the workload ends after 24 h", id="drift"),
    ],
)
def test_what_cannot_be_is_told_by_its_field(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkloadError) as told:
        read(**changed)
    assert str(told.value).startswith("mine.json: ")
    assert message in str(told.value)
