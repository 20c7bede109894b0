"""What the operator exports, asked of its own registry."""

from __future__ import annotations

from typing import Any

from specdec.controllers.metrics import Metrics


def exported() -> dict[str, frozenset[str]]:
    """Series -> labels."""
    found: dict[str, frozenset[str]] = {}
    for collector, names in Metrics().registry._collector_to_names.items():
        for name in names:
            found[name] = _labels(collector) | ({"le"} if name.endswith("_bucket") else set())
    return found


def _labels(collector: Any) -> frozenset[str]:
    """Those of a metric of the client library, or of a collector of ours by its description."""
    if hasattr(collector, "_labelnames"):
        return frozenset(collector._labelnames)
    return frozenset(label for family in collector.describe() for label in family._labelnames)
