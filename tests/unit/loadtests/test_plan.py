"""What a plan file may say, and what it is told when it says something else."""

from pathlib import Path

import pytest

from loadtests.arms import parse_arms
from loadtests.plan import PlanError, load_plan
from tests.unit.loadtests.builders import plan

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("- 1", "mapping", id="not a mapping"),
        pytest.param("phases: [", "not YAML", id="not YAML"),
        pytest.param("phases: []", "phases", id="no phase"),
        pytest.param("phases: [{name: a, seconds: 0, load: {rate: 1}}]", "phases.0.seconds", id="an empty phase"),
        pytest.param("phases: [{name: a, seconds: 1, load: {}}]", "exactly one of", id="no load"),
        pytest.param("phases: [{name: a, seconds: 1, load: {rate: 1, users: 2}}]", "rate", id="two loads"),
        pytest.param("phases: [{name: a, seconds: 1, load: {rate: 1}, mix: {poem: 1}}]", "poem", id="unknown scenario"),
        pytest.param(
            "phases: [{name: a, seconds: 1, load: {rate: 1}, mix: {chat: 0}}]", "weights", id="weightless mix"
        ),
        pytest.param("sed: 1\nphases: [{name: a, seconds: 1, load: {rate: 1}}]", "sed", id="a typing error"),
        pytest.param(
            "warmupSeconds: 1\nphases: [{name: a, seconds: 1, load: {rate: 1}}]", "lasts only", id="all warm-up"
        ),
        pytest.param(
            "phases: [{name: a, seconds: 1, load: {rate: 1}}, {name: a, seconds: 1, load: {rate: 1}}]",
            "differ",
            id="two phases of one name",
        ),
    ],
)
def test_a_wrong_plan_is_told_where_it_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(PlanError, match=said):
        load_plan(write(tmp_path, text))


def test_a_plan_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"nowhere\.yaml"):
        load_plan(tmp_path / "nowhere.yaml")


def test_a_trace_is_looked_for_beside_its_plan(tmp_path: Path) -> None:
    read = load_plan(write(tmp_path, "phases: [{name: a, seconds: 1, load: {replay: {file: day.csv}}}]"))
    replay = read.phases[0].load.replay
    assert replay is not None
    assert replay.file == (tmp_path / "day.csv").resolve()


def test_a_plan_survives_the_way_to_the_generator() -> None:
    told = plan({"load": {"users": 3}}, scenarios={"mine": {"style": "code", "domain": "x", **lengths(9)}}, seed=4)
    assert type(told).model_validate(told.model_dump(mode="json", by_alias=True, exclude_none=True)) == told


def lengths(tokens: int) -> dict[str, dict[str, int]]:
    return {"prompt": {"median": tokens}, "output": {"median": tokens}}


def test_lengths_must_enclose_their_median() -> None:
    with pytest.raises(PlanError, match="least <= median <= most"):
        plan(
            scenarios={
                "mine": {"style": "chat", "domain": "x", "prompt": {"median": 5, "most": 4}, "output": {"median": 5}}
            }
        )


def test_phases_follow_each_other() -> None:
    made = plan({"seconds": 4}, {"seconds": 6, "load": {"users": 3}})
    assert made.starts() == (0.0, 4.0)
    assert made.seconds == 10
    assert [made.phase_at(t) for t in (-1, 0, 3.9, 4, 10)] == [None, 0, 0, 1, None]
    assert made.most_users == 3


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*-plan.yaml")), ids=lambda path: path.stem)
def test_the_examples_are_plans(path: Path) -> None:
    assert load_plan(path).seconds > 0


def test_the_example_of_a_schedule_is_one() -> None:
    (arm,) = parse_arms(f"mine={EXAMPLES / 'sweep-schedule.json'}")
    assert arm.schedule(48).k_at(48) == 2
