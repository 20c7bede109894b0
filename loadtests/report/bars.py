"""Figures side by side with their 95 % intervals: by phase, by domain, and the gain over the baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtests.report.data import View
from loadtests.report.style import INK, RC, REFERENCE, WIDTH_INCHES, Look, bare
from loadtests.stats import Estimate

_LETTERS_PER_LINE = 14
_ROOM_FOR_FIGURES = 0.15


def grouped_bars(
    figures: Mapping[str, Mapping[str, Estimate | None]], look: Look, *, key: str, title: str, unit: str
) -> Figure | None:
    """figures: target -> group -> estimate; one cluster of bars per group. None without any figure."""
    names = list(figures)
    groups = list(dict.fromkeys(group for parts in figures.values() for group in parts))
    groups = [group for group in groups if any(figures[name].get(group) for name in names)]
    if not groups:
        return None
    with rc_context(RC):
        figure = Figure(figsize=(WIDTH_INCHES, 3.4), layout="constrained")
        axes = figure.subplots()
        width = 0.8 / len(names)
        for place, name in enumerate(names):
            offset = (place - (len(names) - 1) / 2) * width
            bars = axes.bar(
                np.arange(len(groups)) + offset,
                [0.0 if (e := figures[name].get(group)) is None else e.value for group in groups],
                width * 0.92,
                color=look.colour(name),
                label=name,
            )
            _annotate(axes, [figures[name].get(group) for group in groups], offset, width)
            for bar, group in zip(bars, groups, strict=True):
                bar.set_gid(f"data-{key}-{name}-{groups.index(group)}")
        axes.set_xticks(range(len(groups)), [_wrapped(group) for group in groups])
        axes.set_title(title)
        axes.set_ylabel(unit)
        axes.margins(y=0.15)
        bare(axes)
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.12 if len(groups) < 7 else -0.2), ncols=min(len(names), 9))
        return figure


def _annotate(axes: Axes, estimates: Sequence[Estimate | None], offset: float, width: float) -> None:
    """Intervals, and the figures themselves where there is room for them."""
    places = np.arange(len(estimates)) + offset
    with_ends = [(p, e) for p, e in zip(places, estimates, strict=True) if e and e.low is not None]
    _whiskers(axes, with_ends)
    if width > _ROOM_FOR_FIGURES:
        for place, estimate in zip(places, estimates, strict=True):
            if estimate:
                top = estimate.high if estimate.high is not None else estimate.value
                axes.annotate(
                    f"{estimate.value:.3g}",
                    (place, max(top, 0.0)),
                    (0, 3),
                    textcoords="offset points",
                    ha="center",
                    fontsize=8,
                    color=INK,
                )


def _whiskers(axes: Axes, rows: Sequence[tuple[float, Estimate]]) -> None:
    if not rows:
        return
    low = [max(0.0, e.value - (e.low if e.low is not None else e.value)) for _, e in rows]
    high = [max(0.0, (e.high if e.high is not None else e.value) - e.value) for _, e in rows]
    places, values = [p for p, _ in rows], [e.value for _, e in rows]
    axes.errorbar(places, values, yerr=[low, high], fmt="none", ecolor=INK, elinewidth=1.1, capsize=3, label="_")


def gain_figure(view: View, look: Look) -> Figure | None:
    """Percent less time per output token than the baseline, overall and by phase; None without a baseline."""
    gains = {name: parts for name, parts in view.summary.gains.items() if any(parts.values())}
    if not gains:
        return None
    title = f"Time per output token saved against {view.summary.info.baseline}, % (95 % interval)"
    figure = grouped_bars(gains, look, key="gain", title=title, unit="% (higher is better)")
    if figure:
        figure.axes[0].axhline(0, color=REFERENCE, linewidth=1)
    return figure


def _wrapped(name: str) -> str:
    lines = [""]
    for word in name.split():
        if lines[-1] and len(lines[-1]) + len(word) + 1 > _LETTERS_PER_LINE:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)
