"""Everything on one time axis: load, K, accepted length and time per token, with phases and events marked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtests.report.data import Curve, View, in_flight_curve, tpot_curve
from loadtests.report.style import INK, RC, REFERENCE, WIDTH_INCHES, Look


@dataclass(frozen=True, slots=True)
class Panel:
    """step: values hold until the next one, as K does."""

    key: str
    title: str
    curve: Callable[[View, str], Curve]
    step: bool = False


PANELS = (
    Panel("load", "Requests in flight", in_flight_curve),
    Panel("k", "Speculative tokens, K", lambda view, name: view.series(name, "k"), step=True),
    Panel("batch", "Batch size in the engine", lambda view, name: view.series(name, "batch")),
    Panel("accepted", "Accepted length, tokens per step", lambda view, name: view.series(name, "accepted_length")),
    Panel("tpot", "Time per output token, ms (seen by clients)", tpot_curve),
)


def drawn_panels(view: View) -> list[tuple[Panel, dict[str, Curve]]]:
    """The panels that have data, with the curves of the targets that have some."""
    found = []
    for panel in PANELS:
        curves = {name: curve for name in view.names if (curve := panel.curve(view, name)).points}
        if curves:
            found.append((panel, curves))
    return found


def timeline(view: View, look: Look) -> Figure | None:
    """None when no target has anything to show."""
    panels = drawn_panels(view)
    if not panels:
        return None
    with rc_context(RC):
        figure = Figure(figsize=(WIDTH_INCHES, 0.9 + 1.55 * len(panels)), layout="constrained")
        rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (panel, curves) in zip(rows, panels, strict=True):
            _draw(axes, panel, curves, look)
            _mark(axes, view)
        _name_phases(rows[0], view)
        _name_events(rows[-1], view)
        rows[-1].set_xlabel("seconds since the start")
        rows[-1].set_xlim(0, view.seconds)
        handles = {line.get_label(): line for axes in rows for line in axes.get_lines() if line.get_gid()}
        figure.legend(handles.values(), handles.keys(), loc="outside upper right", ncols=len(handles))
        return figure


def _draw(axes: Axes, panel: Panel, curves: dict[str, Curve], look: Look) -> None:
    for name, curve in curves.items():
        style = look.line(name)
        drawn = (
            axes.step(curve.at, curve.values, where="post", **style)
            if panel.step
            else axes.plot(curve.at, curve.values, **style)
        )
        drawn[0].set_gid(f"data-timeline-{panel.key}-{name}")
    axes.set_title(panel.title)
    highest = max(float(np.nanmax(curve.values)) for curve in curves.values())
    axes.set_ylim(0, (highest or 1.0) * (1.3 if panel.key == "load" else 1.12))
    if panel.key == "k":
        axes.set_yticks(range(8))
        axes.set_ylim(-0.4, 7.6)


def _mark(axes: Axes, view: View) -> None:
    for index, phase in enumerate(view.phases):
        if index % 2:
            axes.axvspan(phase.start, phase.end, color="#F2F5F8", zorder=-2, linewidth=0)
    for event in view.events:
        axes.axvline(event.t, color=REFERENCE, linewidth=0.8, linestyle=(0, (2, 2)), zorder=-1)


def _name_phases(axes: Axes, view: View) -> None:
    for phase in view.phases:
        axes.text(
            (phase.start + phase.end) / 2,
            0.97,
            phase.name,
            transform=axes.get_xaxis_transform(),
            ha="center",
            va="top",
            fontsize=8.5,
            color=INK,
            clip_on=True,
        )


def _name_events(axes: Axes, view: View) -> None:
    """Letters on the axis; the page lists what each stands for."""
    for index, event in enumerate(view.events[:26]):
        axes.text(
            event.t,
            0.03,
            f" {chr(ord('A') + index)}",
            transform=axes.get_xaxis_transform(),
            fontsize=7.5,
            color=REFERENCE,
            ha="left",
            va="bottom",
        )
