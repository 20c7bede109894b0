"""Whatever is stored, reading it gives a resource or problems, and never an exception."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from specdec.api.resource import SpeculativeDeployment, parse
from tests.support.resource import stored

NAMES = st.sampled_from(
    [
        "replicas",
        "model",
        "source",
        "huggingFace",
        "repo",
        "speculator",
        "engine",
        "args",
        "env",
        "name",
        "tuning",
        "max",
    ]
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**70) | st.floats(allow_nan=False) | st.text("a/-=9", max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(NAMES, VALUES, max_size=5))
@settings(max_examples=300)
def test_any_spec(spec: dict[str, Any]) -> None:
    found = parse({**stored(), "spec": spec})
    if not isinstance(found, SpeculativeDeployment):
        assert all(problem.path.startswith("spec") and problem.message for problem in found)


@given(NAMES, NAMES, VALUES)
@settings(max_examples=300)
def test_any_value_in_a_valid_spec(outer: str, inner: str, value: Any) -> None:
    body = stored()
    part = body["spec"].get(outer)
    if isinstance(part, dict):
        part[inner] = value
    else:
        body["spec"][outer] = value
    found = parse(body)
    assert isinstance(found, SpeculativeDeployment) or found
