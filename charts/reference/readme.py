"""Settings -> the tables of README.md, below a marker; what stands above it is written by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final

from charts.reference.comments import Setting

MARKER: Final = "<!-- From here on generated from values.yaml by `make generate-chart-docs`. -->"


class MarkerError(ValueError):
    """README.md does not say where the generated part starts."""


def render(settings: Sequence[Setting], current: str) -> str:
    """The text of README.md: what stands above the marker in `current`, then one table per section."""
    above, marker, _ = current.partition(MARKER)
    if not marker:
        raise MarkerError(f"README.md lacks the line {MARKER!r} under which the settings are listed")
    leaves = [leaf for setting in settings for leaf in setting.leaves()]
    tables = [_table(title, list(rows)) for title, rows in groupby(leaves, key=lambda leaf: leaf.section)]
    return "\n\n".join([above + marker, *tables]) + "\n"


def _table(title: str, leaves: Sequence[Setting]) -> str:
    rows = [f"| `{leaf.name}` | {_default(leaf.default)} | {_cell(leaf.text)} |" for leaf in leaves]
    return "\n".join([f"### {title}", "", "| setting | default | what it does |", "|---|---|---|", *rows])


def _default(value: Any) -> str:
    return f"`{_cell(json.dumps(value))}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
