"""What a sweep is for: time per output token and speed-up as K grows, with schedules and Auto beside."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from loadtests.report.data import View
from loadtests.report.style import COLOURS, DASHES, INK, MARKERS, RC, REFERENCE, WIDTH_INCHES, bare
from loadtests.stats import Estimate

_K: Final = re.compile(r"^K(\d+)$")
_FEWEST_KS: Final = 3


def is_sweep(view: View) -> bool:
    """Whether at least three of the targets are constant K."""
    return sum(bool(_K.match(name)) for name in view.names) >= _FEWEST_KS


def arms_figure(view: View) -> Figure | None:
    """One line per phase over the arms: TPOT on the left, percent saved against the baseline on the right."""
    if not is_sweep(view):
        return None
    arms = sorted(view.names, key=lambda name: (not _K.match(name), name))
    phases = list(next(iter(view.summary.targets.values())).phases)
    with rc_context(RC):
        figure = Figure(figsize=(WIDTH_INCHES, 4.0), layout="constrained")
        left, right = figure.subplots(1, 2)
        for place, phase in enumerate(phases):
            tpot = [view.summary.targets[arm].phases[phase].tpot_ms for arm in arms]
            saved = [view.summary.gains.get(arm, {}).get(phase) for arm in arms]
            _line(left, tpot, place, phase).set_gid(f"data-arms-tpot-{place}")
            _line(right, saved, place, phase).set_gid(f"data-arms-saved-{place}")
        left.set_title("Time per output token, ms")
        left.set_ylim(bottom=0)
        right.set_title(f"Saved against {view.summary.info.baseline}, %")
        right.axhline(0, color=REFERENCE, linewidth=1)
        for axes in (left, right):
            axes.set_xticks(range(len(arms)), [name.removeprefix("K") if _K.match(name) else name for name in arms])
            axes.set_xlabel("K (0: speculation off)")
            axes.set_xlim(-0.5, len(arms) - 0.5)
            bare(axes)
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=min(len(phases), 5))
        return figure


def caption(view: View) -> str:
    """Names the best arm of each phase, and says whether its lead over the next is more than chance."""
    phases = list(next(iter(view.summary.targets.values())).phases)
    best = [f"{phase}: {_best(view, phase)}" for phase in phases]
    return (
        f"Each arm met the same requests in blocks of random order. Lowest time per token by phase: {'; '.join(best)}."
    )


def _best(view: View, phase: str) -> str:
    known = {name: t.phases[phase].tpot_ms for name, t in view.summary.targets.items()}
    ranked = sorted((e.value, name, e) for name, e in known.items() if e is not None)
    if not ranked:
        return "not known"
    (_, name, first), rest = ranked[0], ranked[1:]
    near = [other for _, other, e in rest if first.high is None or e.low is None or e.low <= first.high]
    return f"{name} ({first.value:.2f} ms)" + (f", not told apart from {', '.join(near)}" if near else "")


def _line(axes: Axes, estimates: Sequence[Estimate | None], place: int, name: str) -> Line2D:
    shown = [(x, e) for x, e in enumerate(estimates) if e is not None]
    at, values = [x for x, _ in shown], [e.value for _, e in shown]
    low = [max(0.0, e.value - (e.low if e.low is not None else e.value)) for _, e in shown]
    high = [max(0.0, (e.high if e.high is not None else e.value) - e.value) for _, e in shown]
    colour = COLOURS[place % len(COLOURS)]
    axes.errorbar(at, values, yerr=[low, high], fmt="none", ecolor=INK, elinewidth=1, capsize=3)
    (line,) = axes.plot(
        at,
        values,
        color=colour,
        linestyle=DASHES[place % len(DASHES)],
        marker=MARKERS[place % len(MARKERS)],
        label=name,
    )
    return line
