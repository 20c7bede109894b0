"""Latencies as distributions, with the objectives marked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtests.report.data import Floats, View, latencies
from loadtests.report.style import RC, REFERENCE, WIDTH_INCHES, Look

_CURVE_POINTS: Final = 250
_METRICS: Final = (
    ("ttft_ms", "ttftMs", "Time to first token"),
    ("tpot_ms", "tpotMs", "Time per output token"),
    ("e2el_ms", "e2elMs", "End to end"),
)
_FAR: Final = 2.5


def latency_figure(view: View, look: Look) -> Figure | None:
    """Share of requests at or below each latency, one panel per metric; None when no request succeeded."""
    found = {m: {n: v for n in view.names if (v := latencies(view, n, m)).size} for m, _, _ in _METRICS}
    if not any(found.values()):
        return None
    objectives = view.summary.info.plan.get("objectives", {})
    with rc_context(RC):
        figure = Figure(figsize=(WIDTH_INCHES, 3.6), layout="constrained")
        for axes, (metric, objective, title) in zip(figure.subplots(1, len(_METRICS)), _METRICS, strict=True):
            _draw(axes, found[metric], metric, look)
            _limits(axes, found[metric], objectives.get(objective))
            axes.set_title(title)
            axes.set_xlabel("ms")
            axes.set_ylim(0, 101)
        figure.axes[0].set_ylabel("% of requests at or below")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=min(len(view.names), 9))
        return figure


def _draw(axes: Axes, found: Mapping[str, Floats], metric: str, look: Look) -> None:
    for name, values in found.items():
        share = np.linspace(0.0, 100.0, min(values.size, _CURVE_POINTS) + 1)[1:]
        shown = np.percentile(values, share, method="inverted_cdf")
        (line,) = axes.step(shown, share, where="post", **look.line(name))
        line.set_gid(f"data-latency-{metric}-{name}")


def _limits(axes: Axes, found: Mapping[str, Floats], target: float | None) -> None:
    """The axis ends behind the tails; a target far beyond is named at its end instead of squeezing the curves."""
    tail = max([float(np.percentile(values, 99.5)) for values in found.values()], default=1.0)
    far = target is not None and target > _FAR * tail
    axes.set_xlim(0, 1.1 * (tail if target is None or far else max(tail, target)))
    if target is None:
        return
    if far:
        axes.text(
            0.99, 0.04, f"target {target:g} →", transform=axes.transAxes, ha="right", color=REFERENCE, fontsize=8.5
        )
    else:
        axes.axvline(target, color=REFERENCE, linestyle=(0, (2, 2)), linewidth=1)
        axes.text(target, 3, " target", color=REFERENCE, fontsize=8.5)
