"""Rows -> a picture: what each policy loses to the oracle, by workload. Needs matplotlib, imported only here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Final

from specdec.simulate.rows import Row
from specdec.simulate.table import ordered, summary

OURS_COLOUR: Final = "#0b6e4f"
OTHERS_COLOUR: Final = "#9aa5b1"
WORST_SHOWN: Final = 8.0
ROOM: Final = 1.2  # for the figure at a bar's end


class PlotError(RuntimeError):
    """Nothing can be drawn; the message says why and what to do."""


def check(policies: Iterable[str], path: Path) -> None:
    """Raise PlotError, before anything is simulated, where `draw` would afterwards."""
    kinds = _matplotlib().figure.Figure().canvas.get_supported_filetypes()
    if path.suffix.removeprefix(".").lower() not in kinds:
        raise PlotError(f"{path}: its suffix must say what to write, as .png and .svg do")
    if all(policy == "oracle" for policy in policies):
        raise PlotError("a plot shows what policies lose to the oracle; name another --policy too, or leave --plot out")


def _matplotlib() -> ModuleType:
    try:
        import matplotlib.figure
    except ImportError as error:
        raise PlotError(
            "a plot needs matplotlib; run pip install '.[loadtest]' in a checkout of this project, or leave --plot out"
        ) from error
    return matplotlib


def draw(rows: Sequence[Row], path: Path) -> None:
    """Write a PNG or SVG, by the suffix of `path`."""
    check((row.policy for row in rows), path)
    _matplotlib().use("Agg")
    from matplotlib import pyplot

    workloads = ordered(row.workload for row in rows if row.policy != "oracle")
    across = min(len(workloads), 4)
    down = -(-len(workloads) // across)
    figure, axes = pyplot.subplots(down, across, figsize=(4.6 * across, 4.4 * down), squeeze=False)
    for axis, workload in zip(axes.flat, workloads, strict=False):
        policies = ordered(row.policy for row in rows if row.workload == workload and row.policy != "oracle")
        figures = [summary(rows, policy, workload, "regret_oracle_percent") for policy in policies]
        means = [f.mean or 0.0 for f in figures]
        shown = [min(mean, WORST_SHOWN) for mean in means]
        reach = [
            [max(mean - f.low, 0.0) if mean < WORST_SHOWN else 0.0 for mean, f in zip(means, figures, strict=True)],
            [max(f.high - mean, 0.0) if mean < WORST_SHOWN else 0.0 for mean, f in zip(means, figures, strict=True)],
        ]
        colours = [OURS_COLOUR if policy.startswith("specdec") else OTHERS_COLOUR for policy in policies]
        bars = axis.barh(policies, shown, xerr=reach, color=colours, error_kw={"elinewidth": 1})
        axis.bar_label(bars, [f"{mean:.1f}" for mean in means], padding=3, fontsize=7)
        axis.set_xlim(min(0.0, *shown) - (ROOM if min(shown) < 0 else 0.0), WORST_SHOWN + ROOM)
        axis.invert_yaxis()
        axis.set_title(workload)
        axis.set_xlabel(f"time per token over the oracle, %; bars end at {WORST_SHOWN:g}")
        axis.tick_params(axis="y", labelsize=7)
        axis.axvline(0.0, color="black", linewidth=0.6)
    for axis in list(axes.flat)[len(workloads) :]:
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
