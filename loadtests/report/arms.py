"""What a sweep is for: time per token, speed-up, throughput and accepted length as K grows; other arms beside."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from loadtests.groups import Group
from loadtests.report import card
from loadtests.report.data import View
from loadtests.report.style import COLOURS, DASHES, INK, MARKERS, RC, REFERENCE, WIDTH_INCHES, bare
from loadtests.stats import Estimate, speedup

_K: Final = re.compile(r"^K(\d+)$")
_FEWEST_KS: Final = 2


def is_sweep(view: View) -> bool:
    """Whether at least two of the targets are constant K, so that lines over K mean something."""
    return sum(bool(_K.match(name)) for name in view.names) >= _FEWEST_KS


def arms_figure(view: View) -> Figure | None:
    """One line per phase over the arms, in four panels."""
    if not is_sweep(view):
        return None
    arms = sorted(view.names, key=lambda name: (not _K.match(name), name))
    phases = list(next(iter(view.summary.targets.values())).phases)
    with rc_context(RC):
        figure = Figure(figsize=(WIDTH_INCHES, 7.2), layout="constrained")
        (tpot, faster), (throughput, accepted) = figure.subplots(2, 2)
        for place, phase in enumerate(phases):
            groups = [view.summary.targets[arm].phases[phase] for arm in arms]
            _draw(tpot, [group.tpot_ms for group in groups], place, phase, "tpot")
            _draw(faster, [_faster(view, arm, phase) for arm in arms], place, phase, "faster")
            _draw(throughput, [_throughput(group) for group in groups], place, phase, "throughput")
            _draw(accepted, [group.chunk_length for group in groups], place, phase, "accepted")
        tpot.set_title("Time per output token, ms")
        faster.set_title(f"Speed-up over {view.summary.info.baseline}")
        faster.axhline(1, color=REFERENCE, linewidth=1)
        throughput.set_title("Output tokens per second")
        accepted.set_title("Accepted length, tokens per step")
        _card(accepted, arms)
        for axes in (tpot, faster, throughput, accepted):
            axes.set_xticks(range(len(arms)), [name.removeprefix("K") if _K.match(name) else name for name in arms])
            axes.set_xlim(-0.5, len(arms) - 0.5)
            axes.set_ylim(bottom=0)
            bare(axes)
        for axes in (throughput, accepted):
            axes.set_xlabel("K (0: speculation off)")
        handles, labels = tpot.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=min(len(phases), 5))
        return figure


def caption(view: View) -> str:
    """Names the best arm of each phase, and says whether its lead over the next is more than chance."""
    phases = list(next(iter(view.summary.targets.values())).phases)
    best = [f"{phase}: {_best(view, phase)}" for phase in phases]
    return (
        "Each arm met the same requests in blocks of random order; whiskers are 95 % intervals. Lowest time per token "
        f"by phase: {'; '.join(best)}. Accepted length is what clients saw per chunk; grey is the model card's, cut "
        "off at K (solid: its figures read as cumulative, dotted: as a product)."
    )


def _faster(view: View, arm: str, phase: str) -> Estimate | None:
    if arm == view.summary.info.baseline:
        return Estimate(1.0)
    return speedup(view.summary.gains.get(arm, {}).get(phase))


def _throughput(group: Group) -> Estimate | None:
    return group.tokens_per_second if group.requests else None


def _card(axes: Axes, arms: Sequence[str]) -> None:
    """The accepted length that the model card's figures give at each K, in both ways to read them."""
    ks = [(place, int(found[1])) for place, arm in enumerate(arms) if (found := _K.match(arm))]
    for positions, style in ((card.PER_POSITION, "-"), (card.AS_PRODUCT, ":")):
        lengths = list(accumulate(positions, initial=1.0))
        shown = [(place, lengths[k]) for place, k in ks if k < len(lengths)]
        axes.plot([x for x, _ in shown], [y for _, y in shown], color=REFERENCE, linestyle=style, linewidth=1, zorder=1)


def _best(view: View, phase: str) -> str:
    known = {name: t.phases[phase].tpot_ms for name, t in view.summary.targets.items()}
    ranked = sorted((e.value, name, e) for name, e in known.items() if e is not None)
    if not ranked:
        return "not known"
    (_, name, first), rest = ranked[0], ranked[1:]
    near = [other for _, other, e in rest if first.high is None or e.low is None or e.low <= first.high]
    return f"{name} ({first.value:.2f} ms)" + (f", not told apart from {', '.join(near)}" if near else "")


def _draw(axes: Axes, estimates: Sequence[Estimate | None], place: int, name: str, panel: str) -> None:
    _line(axes, estimates, place, name).set_gid(f"data-arms-{panel}-{place}")


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
