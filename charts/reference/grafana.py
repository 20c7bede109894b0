"""Short dashboard descriptions (dashboards/*.yaml) -> Grafana dashboards, as JSON that Grafana imports as it is.

A description has `title`, `uid`, `text`, `variables` and `rows`; a row has a `title` and `panels`; a panel has a
`title`, `queries` (legend -> PromQL), and where they differ from the usual `unit`, `width` (of 24), `type`, `help`,
`max`, `stack`. `SELECT` in a query stands for the description's `select`, the matchers that its variables fill.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml

COLUMNS: Final = 24
HEIGHT: Final = 8
STAT_HEIGHT: Final = 4
DATA_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


def render(description: str) -> str:
    """The JSON of one dashboard."""
    board = yaml.safe_load(description)
    dashboard = {
        "uid": board["uid"],
        "title": board["title"],
        "description": board["text"],
        "tags": ["specdec"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": list(_variables(board["variables"]))},
        "annotations": {"list": [_annotation(item, board["select"]) for item in board.get("annotations", [])]},
        "panels": list(_panels(board)),
    }
    return json.dumps(dashboard, indent=2) + "\n"


def queries(dashboard: Mapping[str, Any]) -> Iterator[str]:
    """Every PromQL expression of a rendered dashboard."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["expr"]


def _variables(described: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    yield {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    for name, query in described.items():
        yield {
            "name": name,
            "label": name.capitalize(),
            "type": "query",
            "datasource": DATA_SOURCE,
            "query": {"query": query, "refId": name},
            "refresh": 2,
            "sort": 1,
            "includeAll": True,
            "allValue": ".*",
            "multi": True,
            "current": {"text": ["All"], "value": ["$__all"]},
        }


def _annotation(described: Mapping[str, str], select: str) -> dict[str, Any]:
    return {
        "name": described["name"],
        "datasource": DATA_SOURCE,
        "enable": True,
        "iconColor": described.get("colour", "purple"),
        "expr": described["expr"].replace("SELECT", select),
        "titleFormat": described["name"],
        "textFormat": described["text"],
        "useValueForTime": False,
    }


def _panels(board: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    number, top = 1, 0
    for row in board["rows"]:
        yield {
            "id": number,
            "type": "row",
            "title": row["title"],
            "collapsed": False,
            "gridPos": {"h": 1, "w": COLUMNS, "x": 0, "y": top},
            "panels": [],
        }
        number, top, left, height = number + 1, top + 1, 0, 0
        for described in row["panels"]:
            panel = _panel(described, board["select"])
            width = described.get("width", 8)
            if left + width > COLUMNS:
                left, top = 0, top + height
            height = STAT_HEIGHT if panel["type"] == "stat" else HEIGHT
            yield {"id": number, **panel, "gridPos": {"h": height, "w": width, "x": left, "y": top}}
            number, left = number + 1, left + width
        top += height


def _panel(described: Mapping[str, Any], select: str) -> dict[str, Any]:
    kind = described.get("type", "timeseries")
    return {
        "type": kind,
        "title": described["title"],
        "description": described.get("help", ""),
        "datasource": DATA_SOURCE,
        "fieldConfig": {"defaults": _field(described, kind), "overrides": []},
        "options": _options(kind),
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": DATA_SOURCE,
                "expr": expression.replace("SELECT", select),
                "legendFormat": legend,
                **({"format": "table", "instant": True} if kind == "table" else {}),
                **({"instant": True} if kind == "stat" else {}),
            }
            for number, (legend, expression) in enumerate(described["queries"].items())
        ],
    }


def _field(described: Mapping[str, Any], kind: str) -> dict[str, Any]:
    field = {"unit": described.get("unit", "short"), "decimals": described.get("decimals"), "min": 0}
    field |= {"max": described["max"]} if "max" in described else {}
    if kind == "timeseries":
        stacking = "normal" if described.get("stack") else "none"
        line = {"lineWidth": 1, "showPoints": "never", "fillOpacity": 25 if described.get("stack") else 5}
        field["custom"] = {**line, "stacking": {"mode": stacking}, "lineInterpolation": described.get("line", "linear")}
    return {key: value for key, value in field.items() if value is not None}


def _options(kind: str) -> dict[str, Any]:
    match kind:
        case "stat":
            return {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "none"}
        case "timeseries":
            return {
                "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "mean"]},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }
        case _:
            return {}
