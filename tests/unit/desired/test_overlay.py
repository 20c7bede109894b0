"""The overlay merges as users of strategic merge patches expect."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specdec.desired.overlay import merged

JSON = st.recursive(
    st.booleans() | st.integers() | st.text("xyz", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abname", max_size=4), inner, max_size=3),
    max_leaves=12,
)
STRUCT = st.dictionaries(st.text("abname", max_size=4), JSON, max_size=4)


@pytest.mark.parametrize(
    ("under", "over", "expected"),
    [
        pytest.param({"a": 1, "b": 2}, {"b": 3}, {"a": 1, "b": 3}, id="a field is replaced"),
        pytest.param({"a": {"b": 1}}, {"a": {"c": 2}}, {"a": {"b": 1, "c": 2}}, id="structs merge"),
        pytest.param({"a": 1, "b": 2}, {"a": {"$patch": "delete"}}, {"b": 2}, id="a field is removed"),
        pytest.param({}, {"a": {"b": {"$patch": "delete"}, "c": 1}}, {"a": {"c": 1}}, id="there is nothing to remove"),
        pytest.param({"a": {"b": 1}}, {"a": {"$patch": "replace", "c": 2}}, {"a": {"c": 2}}, id="a struct is replaced"),
        pytest.param(
            [{"name": "a"}, {"name": "b"}],
            [{"name": "a", "$patch": "delete"}, {"name": "c", "$patch": "delete"}],
            [{"name": "b"}],
            id="a named item is removed",
        ),
        pytest.param(["x"], ["y"], ["y"], id="a list of plain values is replaced"),
        pytest.param(
            [{"name": "a", "v": 1}, {"name": "b", "v": 2}],
            [{"name": "b", "v": 3}, {"name": "c"}],
            [{"name": "a", "v": 1}, {"name": "b", "v": 3}, {"name": "c"}],
            id="a list of named items merges by name",
        ),
        pytest.param(
            [{"name": "v", "mountPath": "/a"}],
            [{"mountPath": "/a", "name": "w"}],
            [{"name": "v", "mountPath": "/a"}, {"mountPath": "/a", "name": "w"}],
            id="the name identifies before the path",
        ),
        pytest.param([{"name": "a"}], [{"other": 1}], [{"other": 1}], id="items that nothing identifies replace all"),
    ],
)
def test_merging(under: Any, over: Any, expected: Any) -> None:
    assert merged(under, over) == expected


@given(under=STRUCT)
def test_an_empty_overlay_changes_nothing(under: dict[str, Any]) -> None:
    assert merged(under, {}) == under


@given(under=STRUCT, over=STRUCT)
def test_laying_it_on_twice_is_laying_it_on_once(under: dict[str, Any], over: dict[str, Any]) -> None:
    once = merged(under, over)
    assert merged(once, over) == once
