"""Puts the report together: figures, tables, words; one HTML file that needs nothing else, a PNG, and the JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import jinja2
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

from loadtests.metrics import METRICS
from loadtests.report import arms, words
from loadtests.report.arms import is_sweep
from loadtests.report.bars import gain_figure, grouped_bars
from loadtests.report.data import View, read_view
from loadtests.report.distributions import acceptance_figure, chunk_figure, latency_figure
from loadtests.report.style import RC, Look, svg
from loadtests.report.timeline import timeline
from loadtests.stats import Estimate
from loadtests.summary import write_summary

PNG_DPI: Final = 110


@dataclass(frozen=True, slots=True)
class Built:
    """png: one picture per figure, the overview first. json: the summary."""

    html: Path
    png: tuple[Path, ...]
    json: Path


@dataclass(frozen=True, slots=True)
class Price:
    """What a target's GPUs cost. per_gpu_hour: in `currency`."""

    per_gpu_hour: float
    gpus: int
    currency: str = "USD"

    def per_million_tokens(self, tokens_per_second: float) -> float | None:
        """None when nothing was generated."""
        if tokens_per_second <= 0:
            return None
        return self.per_gpu_hour * self.gpus / 3600.0 / tokens_per_second * 1e6


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


def build_report(folder: Path, price: Price | None = None) -> Built:
    """Read the run in `folder` (files: `loadtests.records`) and write the report beside it.

    Writes `report.html`, `report.png` (the timeline), `report-KEY.png` for each further plot and `summary.json`.
    Whatever is missing (samples, events, counters, a baseline) leaves its part out. Raises RunFolderError.
    """
    view = read_view(folder)
    plots = list(_plots(view))
    pictures = tuple(_picture(folder, plot, first=number == 0) for number, plot in enumerate(plots))
    page = folder / "report.html"
    page.write_text(_page(view, plots, price))
    return Built(page, pictures, write_summary(folder, view.summary))


def _plots(view: View) -> list[Plot]:
    look = Look(view.names)
    targets = view.summary.targets
    by_phase = {name: {p: g.tpot_ms for p, g in t.phases.items()} for name, t in targets.items()}
    by_domain = {name: {d: g.tpot_ms for d, g in t.domains.items()} for name, t in targets.items()}
    sweep = is_sweep(view)
    made = (
        ("arms", arms.caption(view) if sweep else "", arms.arms_figure(view), False),
        ("timeline", words.timeline(view), timeline(view, look), False),
        ("gain", words.gain(view), None if sweep else gain_figure(view, look), False),
        (
            "phases",
            "Token-weighted time per output token in each phase, with 95 % intervals. Lower is better.",
            None
            if sweep
            else grouped_bars(by_phase, look, key="phases", title="Time per output token by phase", unit="ms"),
            False,
        ),
        (
            "domains",
            "Token-weighted time per output token by the domain of the request, with 95 % intervals.",
            grouped_bars(by_domain, look, key="domains", title="Time per output token by domain", unit="ms"),
            False,
        ),
        (
            "good",
            "Share of requests that succeeded and met every latency target, with 95 % intervals. Higher is better.",
            grouped_bars(_good(view), look, key="good", title="Requests within the targets by phase", unit="%")
            if view.summary.info.plan.get("objectives")
            else None,
            False,
        ),
        ("latency", words.latency(view), latency_figure(view, look), False),
        ("chunks", words.CHUNKS, chunk_figure(view, look), True),
        ("acceptance", words.acceptance(view), acceptance_figure(view, look), True),
    )
    return [Plot(key, caption, figure, half) for key, caption, figure, half in made if figure is not None]


def _good(view: View) -> dict[str, dict[str, Estimate | None]]:
    good = METRICS["good"].of
    return {name: {p: good(g) for p, g in t.phases.items()} for name, t in view.summary.targets.items()}


def _picture(folder: Path, plot: Plot, *, first: bool) -> Path:
    path = folder / ("report.png" if first else f"report-{plot.key}.png")
    with rc_context(RC):
        plot.figure.savefig(path, dpi=PNG_DPI)
    return path


def _page(view: View, plots: list[Plot], price: Price | None) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("loadtests.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    look = Look(view.names)
    return environment.get_template("report.html.j2").render(
        summary=view.summary,
        view=view,
        plots=plots,
        price=price,
        headline=words.headline(view.summary),
        caveats=words.caveats(view.summary),
        tiles=[words.tile(target, look.colour(target.name)) for target in view.summary.targets.values()],
        failures=words.failures(view.summary),
        words=words,
    )
