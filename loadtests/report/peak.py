"""The report of a search for the peak: how much traffic each arm carries within the targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtests.peak import RESULT, Peak, carried, read_peaks
from loadtests.report import words
from loadtests.report.pages import Built, Plot, page, pictures
from loadtests.report.style import INK, RC, REFERENCE, WIDTH_INCHES, Look
from loadtests.stats import Estimate
from loadtests.summary import LATE_SHARE

_UNITS: Final = {"ttftMs": "TTFT", "tpotMs": "TPOT", "e2elMs": "E2EL"}


@dataclass(frozen=True, slots=True)
class Line:
    """One arm of the table, as text."""

    name: str
    colour: str
    rate: str
    beyond: str
    carried: str
    trials: int


def build_peak_report(folder: Path) -> Built:
    """Write `report.html` and its pictures beside `peak.json`. Raises RunFolderError."""
    found, peaks = read_peaks(folder)
    look = Look([peak.name for peak in peaks])
    plots = [
        Plot("peak", _caption(found), _rates_figure(peaks, found, look)),
    ]
    path = folder / "report.html"
    path.write_text(
        page(
            "peak.html.j2",
            title=f"{found['name']}: how much traffic fits",
            headline=headline(peaks, found["baseline"]),
            caveats=_caveats(peaks),
            found=found,
            objectives=" and ".join(f"{_UNITS[name]} ≤ {ms:g} ms" for name, ms in found["objectives"].items()),
            lines=[_line(peak, _of(peaks, found["baseline"]), look) for peak in peaks],
            plots=plots,
            peaks=peaks,
        )
    )
    return Built(path, pictures(folder, plots), folder / RESULT)


def headline(peaks: Sequence[Peak], baseline: str) -> str:
    """The answer in a sentence."""
    first = _of(peaks, baseline)
    more = {peak.name: change for peak in peaks if peak is not first and (change := carried(peak, first))}
    if first.rate is None:
        kept = [peak.name for peak in peaks if peak.rate is not None]
        return f"{baseline} keeps the targets at no rate that was tried; {', '.join(kept) or 'no other arm'} does."
    if not more:
        return f"{baseline} carries {first.rate:.3g} requests per second within the targets."
    name, change = max(more.items(), key=lambda item: item[1].value)
    share = f"{abs(change.value):.0f} % {'more' if change.value >= 0 else 'less'}"
    return f"Within the targets, {name} carries {share} traffic than {baseline}{_between(change)}."


def _between(change: Estimate) -> str:
    if change.low is None or change.high is None:
        return ", as far as the search went"
    return f" (between {change.low:+.0f} and {change.high:+.0f} %)"


def _of(peaks: Sequence[Peak], name: str) -> Peak:
    return next((peak for peak in peaks if peak.name == name), peaks[0])


def _line(peak: Peak, first: Peak, look: Look) -> Line:
    change = None if peak is first else carried(peak, first)
    return Line(
        name=peak.name,
        colour=look.colour(peak.name),
        rate="none" if peak.rate is None else words.number(peak.rate),
        beyond="–" if peak.beyond is None else words.number(peak.beyond),
        carried="" if change is None else f"{change.value:+.0f} %{_between(change)}",
        trials=len(peak.trials),
    )


def _caveats(peaks: Sequence[Peak]) -> list[str]:
    found = []
    if late := [peak.name for peak in peaks if not peak.trustworthy]:
        found.append(
            f"{words.listed(late)}: in a trial more than {100 * LATE_SHARE:g} % of the generator's actions came late. "
            "The generator was the bottleneck: no verdict on the servers."
        )
    if open_ended := [peak.name for peak in peaks if peak.rate is not None and peak.beyond is None]:
        found.append(f"{words.listed(open_ended)}: the highest rate of the search still passed; raise --high.")
    if none := [peak.name for peak in peaks if peak.rate is None]:
        found.append(
            f"{words.listed(none)}: not even the lowest rate passed; lower --low, or the targets ask too much."
        )
    return found


def _caption(found: dict[str, Any]) -> str:
    return (
        f"Share of requests within the targets in each trial, with 95 % intervals; {100 * found['share']:g} % is asked "
        "for. Open marks are trials that were stopped early, because their outcome was sure. Vertical lines are the "
        "highest rates that passed."
    )


def _rates_figure(peaks: Sequence[Peak], found: dict[str, Any], look: Look) -> Figure:
    with rc_context(RC):
        figure = Figure(figsize=(WIDTH_INCHES, 4.2), layout="constrained")
        axes = figure.subplots()
        for peak in peaks:
            _draw(axes, peak, look)
        axes.axhline(100 * found["share"], color=REFERENCE, linewidth=1, linestyle=(0, (2, 2)))
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_ylim(-3, 105)
        axes.set_title("Requests within the targets")
        axes.set_xlabel("requests per second")
        axes.set_ylabel("%")
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=min(len(peaks), 9))
        return figure


def _draw(axes: Axes, peak: Peak, look: Look) -> None:
    trials = sorted(peak.trials, key=lambda trial: trial.rate)
    rates, shares = [t.rate for t in trials], [100 * t.good_share.value for t in trials]
    (line,) = axes.plot(rates, shares, marker=look.marker(peak.name), **look.line(peak.name))
    line.set_gid(f"data-peak-{peak.name}")
    ends = [(t.rate, t.good_share) for t in trials if t.good_share.low is not None and not t.stopped]
    if ends:
        low = [100 * max(0.0, e.value - (e.low or 0.0)) for _, e in ends]
        high = [100 * max(0.0, (e.high or 0.0) - e.value) for _, e in ends]
        at, values = [rate for rate, _ in ends], [100 * e.value for _, e in ends]
        axes.errorbar(at, values, yerr=[low, high], fmt="none", ecolor=INK, elinewidth=1, capsize=3)
    stopped = [(t.rate, 100 * t.good_share.value) for t in trials if t.stopped]
    axes.plot(
        [x for x, _ in stopped],
        [y for _, y in stopped],
        marker=look.marker(peak.name),
        **_OPEN,
        color=look.colour(peak.name),
    )
    if peak.rate is not None:
        axes.axvline(peak.rate, color=look.colour(peak.name), linewidth=1, alpha=0.6)


_OPEN: Final[Any] = {"linestyle": "none", "markerfacecolor": "white", "label": "_", "zorder": 3}
