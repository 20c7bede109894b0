"""What slipped past admission is told in the same words as admission would have used."""

from pathlib import Path

import pytest

from specdec.api.resource import SpeculativeDeployment, parse
from tests.support import examples
from tests.support.bad_inputs import BAD_INPUTS, Bad
from tests.support.resource import resource, stored


@pytest.mark.parametrize("bad", BAD_INPUTS, ids=lambda bad: bad.id)
def test_bad_input_is_named_with_its_remedy(bad: Bad) -> None:
    problems = parse(stored(bad.name, **bad.spec))
    assert isinstance(problems, tuple)
    assert [problem.path for problem in problems if bad.said in problem.message] == [bad.path], list(map(str, problems))


def test_every_problem_is_told_at_once() -> None:
    problems = parse(stored(tuning={"max": 9, "speed": 1}, engine={"image": ...}))
    assert isinstance(problems, tuple)
    assert {problem.path for problem in problems} == {"spec.tuning.max", "spec.tuning.speed", "spec.engine.image"}


@pytest.mark.parametrize(
    ("window", "field"),
    [
        ({"schedule": "0 2 29 2 *", "duration": "4h", "timeZone": "Europe/Zurch"}, "timeZone"),
        ({"schedule": "0 2 30 2 *", "duration": "4h"}, "schedule"),
    ],
)
def test_what_cel_cannot_tell_is_told_by_the_operator(window: dict[str, str], field: str) -> None:
    problems = parse(stored(tuning={"disruption": {"windows": [window]}}))
    assert [p.path for p in problems] == [f"spec.tuning.disruption.windows[0].{field}"]  # type: ignore[union-attr]


@pytest.mark.parametrize("schedule", ["0 2 * * *", "*/15 0-6,22-23 1,15 jan-mar mon-fri", "5 4 * * 7"])
def test_schedules_that_are_in_use_are_taken(schedule: str) -> None:
    window = {"schedule": schedule, "duration": "4h", "timeZone": "America/Argentina/Buenos_Aires"}
    assert resource(tuning={"disruption": {"windows": [window]}}).spec.tuning.disruption.windows[0].duration == "4h"


def test_a_status_that_another_version_wrote_is_no_problem_of_the_users() -> None:
    parsed = parse({**stored(), "status": {"replicas": "three"}})
    assert isinstance(parsed, SpeculativeDeployment)
    assert parsed.status.replicas is None
    problems = parse({**stored(tuning={"max": 9}), "status": {"replicas": "three"}})
    assert [problem.path for problem in problems] == ["spec.tuning.max"]  # type: ignore[union-attr]


def test_what_has_no_spec_is_a_problem_and_no_crash() -> None:
    assert parse({"metadata": {"name": "demo"}}) == parse({"metadata": {"name": "demo"}, "kind": "Odd"})
    assert [str(problem) for problem in parse({"metadata": {"name": "demo"}})] == ["spec: is missing; set it"]


def test_a_long_value_is_shortened_in_the_message() -> None:
    problems = parse(stored(tuning={"mode": "x" * 200}))
    assert isinstance(problems, tuple)
    assert "..." in problems[0].message
    assert len(problems[0].message) < 150


@pytest.mark.parametrize("path", examples.FILES, ids=lambda path: path.stem)
def test_examples_are_valid_with_a_registry(path: Path) -> None:
    assert examples.resources(path)


def test_the_minimal_example_stays_short() -> None:
    assert len((examples.EXAMPLES / "minimal.yaml").read_text().splitlines()) < 25


def test_an_environment_variable_may_be_a_number_of_amounts_only() -> None:
    parsed = resource(engine={"resources": {"requests": {"cpu": 4}}, "shmSize": "8Gi"})
    assert parsed.spec.engine.resources.requests == {"cpu": "4"}


def test_the_model_is_served_under_the_resources_name_unless_told_otherwise() -> None:
    assert resource("flash").served_name == "flash"
    assert resource("flash", model={"servedName": "deepseek"}).served_name == "deepseek"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ({"pvc": {"claimName": "weights", "path": "v4"}, "huggingFace": ...}, "weights/v4"),
        ({"image": {"reference": "registry/weights:1"}, "huggingFace": ...}, "registry/weights:1/"),
        ({}, "deepseek-ai/DeepSeek-V4-Flash"),
    ],
)
def test_a_source_has_a_name_for_humans(source: dict[str, object], text: str) -> None:
    assert resource(model={"source": source}).spec.model.source.text == text


def test_the_largest_k_is_bounded_by_policy_and_by_the_start_value() -> None:
    assert resource(tuning={"max": 5}).spec.max_k == 5
    assert resource(speculator={"numSpeculativeTokens": 3}).spec.max_k == 3
