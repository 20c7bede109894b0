"""What both kinds of report share: a plot with its caption, its picture, and the page around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jinja2
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

from loadtests.report import words
from loadtests.report.style import RC, svg

PNG_DPI: Final = 110


@dataclass(frozen=True, slots=True)
class Built:
    """png: one picture per figure, the overview first. json: the figures."""

    html: Path
    png: tuple[Path, ...]
    json: Path


@dataclass(frozen=True, slots=True)
class Plot:
    """key: names the files and the element. caption: what a reader sees in it, also for those who cannot."""

    key: str
    caption: str
    figure: Figure
    half: bool = False

    @property
    def svg(self) -> Markup:
        return Markup(svg(self.figure, self.key))  # noqa: S704 - made by matplotlib, texts are escaped there


def pictures(folder: Path, plots: Sequence[Plot]) -> tuple[Path, ...]:
    """Write `report.png` for the first plot and `report-KEY.png` for each other."""
    return tuple(_picture(folder, plot, first=number == 0) for number, plot in enumerate(plots))


def _picture(folder: Path, plot: Plot, *, first: bool) -> Path:
    path = folder / ("report.png" if first else f"report-{plot.key}.png")
    with rc_context(RC):
        plot.figure.savefig(path, dpi=PNG_DPI)
    return path


def page(template: str, **content: Any) -> str:
    """One HTML file that needs nothing else."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("loadtests.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(words=words, **content)
