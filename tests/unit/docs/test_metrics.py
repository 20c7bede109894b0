"""The table of metrics in the documentation is that of the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from tests.support.operator_metrics import exported

PAGE: Final = Path(__file__).resolve().parents[3] / "docs" / "monitoring.md"
ROW: Final = re.compile(r"^\| `(specdec_operator_\w+)` \|([^|]*)\|", re.MULTILINE)
PARTS: Final = re.compile(r"_(bucket|sum|count|created|total)$")


def test_each_metric_is_documented_with_its_labels() -> None:
    series = exported()
    documented = {
        name: set(filter(None, re.split(r",\s*", given.strip()))) for name, given in ROW.findall(PAGE.read_text())
    }
    assert documented == {name: set(series[name]) for name in documented}
    assert {PARTS.sub("", name) for name in documented} == {PARTS.sub("", name) for name in series}
