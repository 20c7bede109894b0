"""Puts the report of a run together: figures, tables, words; one HTML file, pictures, and the JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from loadtests.groups import Group
from loadtests.metrics import METRICS
from loadtests.report import acceptance, arms, words
from loadtests.report.bars import gain_figure, grouped_bars
from loadtests.report.data import View, read_view
from loadtests.report.distributions import latency_figure
from loadtests.report.pages import Built, Plot, page, pictures
from loadtests.report.style import Look
from loadtests.report.timeline import timeline
from loadtests.stats import Estimate
from loadtests.summary import write_summary


@dataclass(frozen=True, slots=True)
class Price:
    """What a target's GPUs cost. per_gpu_hour: in `currency`."""

    per_gpu_hour: float
    gpus: int
    currency: str = "USD"

    def per_million_tokens(self, tokens_per_second: Estimate) -> Estimate | None:
        """None when nothing was generated. The more tokens, the lower: the interval turns round."""
        if tokens_per_second.value <= 0:
            return None
        low, high = (None if not rate else self._cost(rate) for rate in (tokens_per_second.high, tokens_per_second.low))
        return Estimate(self._cost(tokens_per_second.value), low, high)

    def _cost(self, tokens_per_second: float) -> float:
        return self.per_gpu_hour * self.gpus / 3600.0 / tokens_per_second * 1e6


def build_report(folder: Path, price: Price | None = None) -> Built:
    """Read the run in `folder` (files: `loadtests.records`) and write the report beside it.

    Writes `report.html`, `report.png` (the first plot), `report-KEY.png` for each further plot and `summary.json`.
    Whatever is missing (samples, events, counters, a baseline) leaves its part out. Raises RunFolderError.
    """
    view = read_view(folder)
    plots = [Plot(key, caption, figure, half) for key, caption, figure, half in _plots(view) if figure is not None]
    path = folder / "report.html"
    path.write_text(_page(view, plots, price))
    return Built(path, pictures(folder, plots), write_summary(folder, view.summary))


Drawn = tuple[str, str, Figure | None, bool]


def _plots(view: View) -> Iterator[Drawn]:
    """Key, caption, figure (None where there is nothing to show) and whether it takes half of the page's width."""
    look = Look(view.names)
    sweep = arms.is_sweep(view)
    if sweep:
        yield "arms", arms.caption(view), arms.arms_figure(view), False
    yield "timeline", words.timeline(view), timeline(view, look), False
    if not sweep:
        yield from _of_targets(view, look)
    yield "domains", words.DOMAINS, _bars(view, look, "domains", "Time per output token by domain", "ms"), False
    if view.summary.info.plan.get("objectives"):
        yield "good", words.GOOD, _good(view, look), False
    yield "latency", words.latency(view), latency_figure(view, look), False
    yield "chunks", words.chunks(view), acceptance.chunk_figure(view), False
    yield "acceptance", words.acceptance(view), acceptance.position_figure(view, look), True
    yield "positions", words.positions(view), acceptance.domain_figure(view), True
    yield "requests", words.REQUESTS, acceptance.request_figure(view, look), False


def _of_targets(view: View, look: Look) -> Iterator[Drawn]:
    """What a sweep shows over K."""
    yield "gain", words.gain(view), gain_figure(view, look), False
    yield "phases", words.PHASES, _bars(view, look, "phases", "Time per output token by phase", "ms"), False
    yield "lengths", words.LENGTHS, _lengths(view, look), False


def _tpot(group: Group) -> Estimate | None:
    return group.tpot_ms


def _bars(view: View, look: Look, part: str, title: str, unit: str) -> Figure | None:
    """Token-weighted TPOT by `phases` or `domains`."""
    figures = {name: {key: _tpot(g) for key, g in getattr(t, part).items()} for name, t in view.summary.targets.items()}
    return grouped_bars(figures, look, key=part, title=title, unit=unit)


def _lengths(view: View, look: Look) -> Figure | None:
    parts = {
        name: {**t.phases, **{f"domain {domain}": g for domain, g in t.domains.items()}}
        for name, t in view.summary.targets.items()
    }
    figures = {name: {key: group.chunk_length for key, group in groups.items()} for name, groups in parts.items()}
    return grouped_bars(
        figures, look, key="lengths", title="Accepted length by load and by domain", unit="tokens per step"
    )


def _good(view: View, look: Look) -> Figure | None:
    good = METRICS["good"].of
    figures = {name: {p: good(g) for p, g in t.phases.items()} for name, t in view.summary.targets.items()}
    return grouped_bars(figures, look, key="good", title="Requests within the targets by phase", unit="%")


def _page(view: View, plots: list[Plot], price: Price | None) -> str:
    look = Look(view.names)
    return page(
        "report.html.j2",
        title=view.summary.info.name,
        summary=view.summary,
        view=view,
        plots=plots,
        price=price,
        headline=words.headline(view.summary),
        caveats=words.caveats(view.summary),
        tiles=[words.tile(view.summary, target, look.colour(target.name)) for target in view.summary.targets.values()],
        failures=words.failures(view.summary),
    )
