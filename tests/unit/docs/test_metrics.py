"""The table of metrics in the documentation is that of the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from prometheus_client.metrics import MetricWrapperBase

from specdec.controllers.metrics import Metrics

PAGE: Final = Path(__file__).resolve().parents[3] / "docs" / "monitoring.md"
ROW: Final = re.compile(r"^\| `(specdec_operator_\w+)` \|([^|]*)\|", re.MULTILINE)


def exposed() -> dict[str, set[str]]:
    """Name as scraped -> its labels."""
    registered = Metrics().registry._names_to_collectors
    found = {}
    for collector in set(registered.values()):
        assert isinstance(collector, MetricWrapperBase)
        suffix = "_total" if collector._type == "counter" else ""
        found[f"{collector._name}{suffix}"] = set(collector._labelnames)
    return found


def test_each_metric_is_documented_with_its_labels() -> None:
    documented = {
        name: set(filter(None, re.split(r",\s*", labels.strip()))) for name, labels in ROW.findall(PAGE.read_text())
    }
    assert documented == exposed()
