"""Alerts and dashboards ask only for metrics and labels that someone really exports, in PromQL that parses."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from charts.reference import grafana
from specdec import tuning
from specdec.api.conditions import Condition, Reason, Truth
from tests.chart.rendering import CHART, HelmError, render
from tests.support import operator_metrics

REPOSITORY = CHART.parents[1]
PAGE = REPOSITORY / "tests" / "contract" / "pages" / "vllm-0.33.0-dflash-synthetic-live-k.txt"
ALERTS = CHART / "files" / "alerts.yaml"
DASHBOARDS = sorted((CHART / "files" / "dashboards").glob("*.json"))
SCRAPED = frozenset({"namespace", "pod", "job"})


def alerts() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def dashboard_queries(path: Path) -> list[str]:
    """The queries as Grafana would send them."""
    asked = grafana.queries(json.loads(path.read_text()))
    return [
        query.replace("$__rate_interval", "5m").replace("$namespace", "a").replace("$model", "m") for query in asked
    ]


EXPRESSIONS = [pytest.param(rule["expr"], id=rule["alert"]) for rule in alerts()] + [
    pytest.param(query, id=f"{path.stem}-{number}")
    for path in DASHBOARDS
    for number, query in enumerate(dashboard_queries(path))
]


@functools.cache
def exported() -> dict[str, frozenset[str]]:
    """Series -> labels: vLLM's from a recorded page, the plugin's from its contract, the operator's from itself."""
    operator = {name: labels | SCRAPED for name, labels in operator_metrics.exported().items()}
    return {**_vllm(), **_plugin(), **operator}


def _vllm() -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for line in PAGE.read_text().splitlines():
        if match := re.match(r"(vllm:\w+)\{([^}]*)\}", line):
            labels = frozenset(re.findall(r"(\w+)=", match[2]))
            found[match[1]] = found.get(match[1], frozenset()) | labels | SCRAPED
    return found


def _plugin() -> dict[str, frozenset[str]]:
    text = (REPOSITORY / "docs" / "engine-contract.md").read_text()
    names = re.findall(r"`(specdec:\w+_total)(?:\{(\w+)\})?`", text)
    cell = frozenset({"model_name", "engine", "k", "batch", "phase"}) | SCRAPED
    return {name: cell | frozenset(filter(None, [more])) for name, more in names}


def nodes(expression: Any) -> Iterator[Any]:
    """The expression and all inside of it."""
    yield expression
    for name in ("lhs", "rhs", "expr", "param", "vector_selector"):
        if (inner := getattr(expression, name, None)) is not None:
            yield from nodes(inner)
    for inner in getattr(expression, "args", None) or ():
        yield from nodes(inner)


def selectors(expression: Any) -> list[Any]:
    return [node for node in nodes(expression) if isinstance(node, promql.VectorSelector)]


def test_the_recorded_page_is_readable() -> None:
    assert len(_vllm()) > 50
    assert list(text_string_to_metric_families(PAGE.read_text()))
    assert len(_plugin()) == 8
    assert "specdec_operator_leading" in exported()


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_each_expression_asks_for_series_and_labels_that_exist(expression: str) -> None:
    parsed = promql.parse(expression)
    asked = selectors(parsed)
    assert asked
    for selector in asked:
        assert selector.name in exported(), f"nothing exports {selector.name}"
        matched = {matcher.name for matcher in selector.matchers.matchers}
        assert matched <= exported()[selector.name], f"{selector.name} has no label {matched}"


WORDS: dict[tuple[str, str], set[str]] = {
    ("specdec_operator_condition", "type"): {condition.value for condition in Condition},
    ("specdec_operator_condition", "status"): {truth.value for truth in Truth},
    ("specdec_operator_condition", "reason"): {reason.value for reason in Reason},
    ("specdec_operator_decisions_total", "kind"): {kind.value for kind in tuning.Kind},
}


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule["alert"]) for rule in alerts()])
def test_each_alert_waits_for_words_that_the_operator_really_says(rule: dict[str, Any]) -> None:
    for selector in selectors(promql.parse(rule["expr"])):
        for matcher in selector.matchers.matchers:
            known = WORDS.get((selector.name, matcher.name))
            assert known is None or matcher.value in known, f"nobody says {matcher.value}"


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_each_aggregation_keeps_labels_that_exist(expression: str) -> None:
    for node in nodes(promql.parse(expression)):
        if isinstance(node, promql.AggregateExpr) and node.modifier is not None:
            for selector in selectors(node.expr):
                assert set(node.modifier.labels) <= exported()[selector.name], (
                    f"{selector.name}: {node.modifier.labels}"
                )


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule["alert"]) for rule in alerts()])
def test_each_alert_says_what_is_wrong_and_has_a_section_in_the_documentation(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"info", "warning"}
    assert set(rule["annotations"]) == {"summary", "description"}
    assert f"### {rule['alert']}\n" in (REPOSITORY / "docs" / "monitoring.md").read_text()


def test_the_documentation_names_no_alert_that_is_gone() -> None:
    sections = re.findall(r"^### (Specdec\w+)$", (REPOSITORY / "docs" / "monitoring.md").read_text(), re.MULTILINE)
    assert sections == [rule["alert"] for rule in alerts()]


def test_the_rules_reach_the_cluster_with_their_own_templates_untouched() -> None:
    rendered = render({"alerts": {"enabled": True, "labels": {"release": "prometheus"}}}).one("PrometheusRule")
    assert rendered["metadata"]["labels"]["release"] == "prometheus"
    assert rendered["spec"]["groups"] == yaml.safe_load(ALERTS.read_text())["groups"]


def test_alerts_can_be_left_out_labelled_and_linked() -> None:
    chosen = {
        "disabled": ["SpecdecNotBeneficial"],
        "ruleLabels": {"team": "ml"},
        "runbookURL": "https://wiki.example/m",
    }
    groups = render({"alerts": {"enabled": True, **chosen}}).one("PrometheusRule")["spec"]["groups"]
    rules = {rule["alert"]: rule for group in groups for rule in group["rules"]}
    assert "SpecdecNotBeneficial" not in rules
    assert len(rules) == len(alerts()) - 1
    assert {rule["labels"]["team"] for rule in rules.values()} == {"ml"}
    link = rules["SpecdecFlapping"]["annotations"]["runbook_url"]
    assert link == "https://wiki.example/m#specdecflapping"


def test_an_alert_that_does_not_exist_cannot_be_left_out() -> None:
    with pytest.raises(HelmError, match=r"alerts\.disabled names SpecdecTypo, but there is no such alert"):
        render({"alerts": {"enabled": True, "disabled": ["SpecdecTypo"]}})


@pytest.mark.parametrize("path", DASHBOARDS, ids=[path.stem for path in DASHBOARDS])
def test_panels_lie_side_by_side_and_have_numbers_of_their_own(path: Path) -> None:
    panels = json.loads(path.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, panel["title"]
        assert max(x for x, _ in cells) < grafana.COLUMNS
        taken |= cells


def test_dashboards_become_config_maps_that_the_sidecar_finds() -> None:
    rendered = render({"dashboards": {"enabled": True, "annotations": {"folder": "LLM"}}})
    for path in DASHBOARDS:
        made = rendered.one("ConfigMap", f"specdec-specdec-operator-{path.stem}")
        assert made["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert made["metadata"]["annotations"] == {"folder": "LLM"}
        assert made["data"] == {f"specdec-{path.stem}.json": path.read_text()}


@pytest.mark.parametrize("kind", ["PrometheusRule", "ServiceMonitor", "PodMonitor"])
def test_nothing_needs_the_prometheus_operator_by_default(kind: str) -> None:
    assert not render().of_kind(kind)


def test_a_service_monitor_scrapes_every_replica_and_keeps_the_resources_labels() -> None:
    rendered = render({"metrics": {"serviceMonitor": {"enabled": True, "interval": "15s", "labels": {"release": "p"}}}})
    monitor = rendered.one("ServiceMonitor")
    service = rendered.one("Service")
    assert monitor["metadata"]["labels"]["release"] == "p"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert service["spec"]["clusterIP"] == "None"
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint == {"port": "metrics", "interval": "15s", "honorLabels": True}


def test_a_pod_monitor_does_without_the_service() -> None:
    values = {"metrics": {"service": {"enabled": False}, "podMonitor": {"enabled": True}}}
    rendered = render(values)
    assert not rendered.of_kind("Service")
    (endpoint,) = rendered.one("PodMonitor")["spec"]["podMetricsEndpoints"]
    assert endpoint["honorLabels"] is True


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        pytest.param(
            {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}},
            "count every figure twice",
            id="both",
        ),
        pytest.param(
            {"serviceMonitor": {"enabled": True}, "service": {"enabled": False}},
            "needs metrics.service",
            id="no service",
        ),
    ],
)
def test_contradictions_are_refused(metrics: dict[str, Any], words: str) -> None:
    with pytest.raises(HelmError, match=words):
        render({"metrics": metrics})
