"""How the plots look: colours that colour-blind readers can tell apart, quiet axes, text that stays text."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any, Final

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito's palette, reordered so that the first two differ most; grey is kept for references.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6A3D9A", "#8B5A2B", "#000000")
DASHES: Final = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1)), "-", (0, (5, 1.5)), (0, (1, 1)), "-", "-")
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "*", "h")
REFERENCE: Final = "#5B6470"
INK: Final = "#1D2733"
GRID: Final = "#DDE2E8"
WIDTH_INCHES: Final = 9.6

RC: Final[Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": "#9AA5B1",
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "figure.facecolor": "white",
}


class Look:
    """Gives each target its colour, dash and marker, the same in every plot."""

    def __init__(self, names: Sequence[str]) -> None:
        self._places = {name: place for place, name in enumerate(names)}

    def colour(self, name: str) -> str:
        return COLOURS[self._places[name] % len(COLOURS)]

    def line(self, name: str) -> dict[str, Any]:
        place = self._places[name]
        return {"color": self.colour(name), "linestyle": DASHES[place % len(DASHES)], "label": name}

    def marker(self, name: str) -> str:
        return MARKERS[self._places[name] % len(MARKERS)]


def svg(figure: Figure, salt: str) -> str:
    """The figure as an element to stand in HTML. salt: keeps ids of several figures of a page apart."""
    out = io.StringIO()
    with rc_context({**RC, "svg.hashsalt": salt}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    # matplotlib numbers its elements anew in every figure, and several figures share a page
    text = re.sub(r' id="(?!data-)', f' id="{salt}-', text)
    text = re.sub(r'(url\(#|href="#)', rf"\g<1>{salt}-", text)
    # the width follows the page, the height follows the view box
    return re.sub(r'<svg ([^>]*?)height="[^"]*"([^>]*?)width="[^"]*"', r"<svg \1\2", text, count=1)


def bare(axes: Axes) -> None:
    """Bars read off a horizontal grid alone."""
    axes.grid(visible=False, axis="x")
    axes.tick_params(axis="x", length=0)
