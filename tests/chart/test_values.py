"""values.yaml, its schema and the README say the same, and a slip of the user is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from charts.reference import __main__ as reference
from charts.reference import comments, readme, schema
from tests.chart.rendering import CHART, HelmError, helm, render
from tests.cluster import tools


def test_the_committed_reference_is_what_values_yaml_says() -> None:
    for path, text in reference.generated(CHART).items():
        assert path.read_text() == text, f"{path.name} is stale; run `make generate-chart-docs`"


def test_helm_lint_has_no_complaint() -> None:
    done = helm("lint", str(CHART), "--strict", "--kube-version", tools.KUBERNETES_VERSION, values={})
    assert "0 chart(s) failed" in done.stdout


@pytest.mark.parametrize(
    ("values", "words"),
    [
        pytest.param({"replica": 3}, "replica", id="misspelt"),
        pytest.param({"metrics": {"servicemonitor": {}}}, "servicemonitor", id="misspelt inside"),
        pytest.param({"replicas": 0}, "minimum", id="no replica"),
        pytest.param({"replicas": "two"}, "replicas", id="not a number"),
        pytest.param({"image": {"digest": "latest"}}, "digest", id="not a digest"),
        pytest.param({"log": {"level": "loud"}}, "level", id="unknown log level"),
        pytest.param({"watchNamespaces": ["A_B"]}, "watchNamespaces", id="not a namespace"),
        pytest.param({"imagePullSecrets": ["name"]}, "imagePullSecrets", id="a string for an object"),
    ],
)
def test_bad_values_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(HelmError, match=words):
        render(values)


def test_a_parent_chart_may_pass_its_globals() -> None:
    assert render({"global": {"anything": 1}}).of_kind("Deployment")


SAMPLE = """\
# ==== First

# How many.
# schema: {minimum: 1}
count: 2

box:
  # Its lid,
  # if any.
  lid: ""
# ==== Second

# Kept as it is.
whole:
  a: {b: 1}
# Names.
# schema: {items: {type: string}}
names: []
"""


def test_a_setting_is_a_key_with_the_comment_above_it() -> None:
    leaves = [leaf for setting in comments.read(SAMPLE) for leaf in setting.leaves()]
    assert [(leaf.name, leaf.text, leaf.section) for leaf in leaves] == [
        ("count", "How many.", "First"),
        ("box.lid", "Its lid, if any.", "First"),
        ("whole", "Kept as it is.", "Second"),
        ("names", "Names.", "Second"),
    ]


def test_the_table_shows_defaults_as_json_and_keeps_what_stands_above_the_marker() -> None:
    text = readme.render(comments.read(SAMPLE), f"# Title\n\n{readme.MARKER}\nold\n")
    assert text.startswith("# Title\n")
    assert "old" not in text
    assert '| `whole` | `{"a": {"b": 1}}` | Kept as it is. |' in text


@pytest.mark.parametrize(
    ("source", "words"),
    [
        pytest.param("a: 1\n", "line 1: a has no documentation", id="undocumented"),
        pytest.param("# List.\na: []\n", "line 2: the type of a cannot be told", id="list of what?"),
        pytest.param("# Nothing.\na: null\n", "line 2: the type of a cannot be told", id="null"),
        pytest.param("# A.\n# schema: {\na: 1\n", "line 2: the schema cannot be read", id="broken hint"),
        pytest.param("# A.\n# schema: 3\na: 1\n", "line 2: a schema is a mapping", id="hint is no mapping"),
        pytest.param("- 1\n", "must be a mapping", id="not a mapping"),
    ],
)
def test_a_careless_values_yaml_is_refused_with_its_line(source: str, words: str) -> None:
    with pytest.raises(comments.CommentError, match=words):
        schema.render(comments.read(source), "test")


def test_a_readme_without_marker_is_refused() -> None:
    with pytest.raises(readme.MarkerError, match="lacks the line"):
        readme.render(comments.read(SAMPLE), "# Title\n")
