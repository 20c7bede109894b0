"""Prometheus' text format, by hand: prometheus_client would hold the engine up for milliseconds at every scrape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from specdec_simulator.counters import Histogram

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
Samples = Sequence[tuple[str, float]]


def label(name: str, text: str) -> str:
    """`name="text"`, escaped."""
    escaped = text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'{name}="{escaped}"'


class Page:
    """Collects families in order. labels: text of those on every sample. created: of every counter, Unix time."""

    def __init__(self, labels: str, created: float) -> None:
        self._labels = labels
        self._created = created
        self._lines: list[str] = []

    def gauge(self, name: str, help_text: str, values: Samples | float) -> None:
        self._head(name, help_text, "gauge")
        self._samples(name, values)

    def counter(self, name: str, help_text: str, values: Samples | float, *, created: bool = True) -> None:
        """`name` without `_total`; a gauge `_created` follows, as prometheus_client writes it."""
        self._head(f"{name}_total", help_text, "counter")
        self._samples(f"{name}_total", values)
        if created:
            self._head(f"{name}_created", help_text, "gauge")
            extra = [""] if isinstance(values, (int, float)) else [text for text, _ in values]
            self._samples(f"{name}_created", [(text, self._created) for text in extra])

    def histogram(self, name: str, help_text: str, histogram: Histogram) -> None:
        self._head(name, help_text, "histogram")
        total, buckets = 0, []
        for bound, count in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
            total += count
            buckets.append((f'le="{"+Inf" if bound == float("inf") else float(bound)}"', total))
        self._samples(f"{name}_bucket", buckets)
        self._samples(f"{name}_count", histogram.count)
        self._samples(f"{name}_sum", histogram.sum)
        self._head(f"{name}_created", help_text, "gauge")
        self._samples(f"{name}_created", self._created)

    def text(self) -> bytes:
        return "\n".join([*self._lines, ""]).encode()

    def _head(self, name: str, help_text: str, kind: str) -> None:
        self._lines += (f"# HELP {name} {help_text}", f"# TYPE {name} {kind}")

    def _samples(self, name: str, values: Samples | float) -> None:
        if isinstance(values, (int, float)):
            self._lines.append(f"{name}{{{self._labels}}} {float(values)!r}")
            return
        start = f"{name}{{{self._labels},"
        self._lines += [f"{start}{extra}}} {float(value)!r}" for extra, value in values]
