"""How much was accepted: tokens per step as a histogram, by position, by domain and by load, beside the model card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtests.report import card
from loadtests.report.data import Floats, View, acceptance_of_requests, tokens_per_chunk
from loadtests.report.style import COLOURS, DASHES, INK, MARKERS, RC, REFERENCE, WIDTH_INCHES, Look

HALF: Final = (WIDTH_INCHES / 2, 3.8)
_ROOM_PERCENT: Final = 8.0
_CARD: Final = "model card"
_CURVE_POINTS: Final = 200


def chunk_figure(view: View) -> Figure | None:
    """Share of chunks by the tokens that they carried, one bar per target; None when nothing was streamed."""
    shares = {name: tokens_per_chunk(view, name) for name in view.names}
    shown = {name: counted for name, (counted, _) in shares.items() if counted}
    if not shown:
        return None
    exact = all(is_exact for counted, is_exact in shares.values() if counted)
    most = max(max(counted) for counted in shown.values())
    rows = {**shown, _CARD: card_histogram()}
    with rc_context(RC):
        figure = Figure(figsize=(WIDTH_INCHES, 1.3 + 0.36 * len(rows)), layout="constrained")
        axes = figure.subplots()
        for row, (name, counted) in enumerate(rows.items()):
            _stack(axes, row, name, counted, max(most, len(card.PER_POSITION) + 1))
        axes.set_yticks(range(len(rows)), list(rows))
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.set_xlabel("% of steps, as chunks that clients saw")
        axes.grid(visible=False)
        axes.set_title("Tokens per step" if exact else "Tokens per step, each request by its mean")
        return figure


def card_histogram() -> dict[int, float]:
    """Share of steps by accepted length (1: the bonus token alone) that the card's positions, as cumulative, imply."""
    reached = (1.0, *card.PER_POSITION, 0.0)
    return {length: above - below for length, (above, below) in enumerate(pairwise(reached), start=1)}


def _stack(axes: Axes, row: int, name: str, counted: Mapping[int, float], most: int) -> None:
    left = 0.0
    for tokens in sorted(counted):
        width = 100 * counted[tokens]
        shade = colormaps["viridis"](0.92 - 0.85 * (tokens - 1) / max(1, most - 1))
        (bar,) = axes.barh(row, width, left=left, height=0.74, color=shade, alpha=0.55 if name == _CARD else 1.0)
        bar.set_gid(f"data-chunks-{name.replace(' ', '-')}-{tokens}")
        if width >= _ROOM_PERCENT:
            dark = sum(shade[:3]) < 1.6 and name != _CARD
            text = f"{tokens}: {width:.0f} %"
            axes.text(left + width / 2, row, text, ha="center", va="center", fontsize=8, color="white" if dark else INK)
        left += width


def position_figure(view: View, look: Look) -> Figure | None:
    """Share of drafts accepted up to each position by the engines' counters; None without them."""
    found = {name: t.per_position for name, t in view.summary.targets.items() if t.per_position}
    if not found:
        return None
    with rc_context(RC):
        figure = Figure(figsize=HALF, layout="constrained")
        axes = _positions(figure, "Accepted up to position")
        for name, shares in found.items():
            at = range(1, len(shares) + 1)
            (line,) = axes.plot(at, [100 * s for s in shares], marker=look.marker(name), **look.line(name))
            line.set_gid(f"data-acceptance-{name}")
        axes.legend(fontsize=8.5)
        return figure


def widest(view: View) -> str | None:
    """The target that was accepted most of, and so shows most positions; None where chunks were not counted."""
    means = {name: t.overall.chunk_length.value for name, t in view.summary.targets.items() if t.overall.chunk_length}
    counted = [name for name in means if tokens_per_chunk(view, name)[1]]
    return max(counted, key=lambda name: means[name], default=None)


def domain_figure(view: View) -> Figure | None:
    """The same by domain, of the target with the longest accepted length, from each request's own chunks."""
    name = widest(view)
    if name is None:
        return None
    with rc_context(RC):
        figure = Figure(figsize=HALF, layout="constrained")
        axes = _positions(figure, f"The same by domain, {name}")
        for place, domain in enumerate(view.summary.targets[name].domains):
            shares = reached_positions(tokens_per_chunk(view, name, domain)[0])
            (line,) = axes.plot(
                range(1, len(shares) + 1),
                [100 * s for s in shares],
                color=COLOURS[place % len(COLOURS)],
                linestyle=DASHES[place % len(DASHES)],
                marker=MARKERS[place % len(MARKERS)],
                label=domain,
            )
            line.set_gid(f"data-positions-{domain}")
        axes.legend(fontsize=8.5)
        return figure


def reached_positions(counted: Mapping[int, float]) -> list[float]:
    """Share of chunks with more than n tokens, n from 1: drafts accepted up to position n."""
    return [sum(share for tokens, share in counted.items() if tokens > n) for n in range(1, max(counted, default=1))]


def request_figure(view: View, look: Look) -> Figure | None:
    """Share of requests at or below each accepted length of their own; None when nothing was streamed."""
    found = {name: values for name in view.names if (values := acceptance_of_requests(view, name)).size}
    if not found:
        return None
    with rc_context(RC):
        figure = Figure(figsize=(WIDTH_INCHES, 3.4), layout="constrained")
        axes = figure.subplots()
        for name, values in found.items():
            shown, share = _curve(values)
            (line,) = axes.step(shown, share, where="post", **look.line(name))
            line.set_gid(f"data-requests-{name}")
        axes.set_title("Accepted length of single requests")
        axes.set_xlabel("tokens per step")
        axes.set_ylabel("% of requests at or below")
        axes.set_ylim(0, 101)
        axes.set_xlim(left=0.9)
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=min(len(found), 9))
        return figure


def _curve(values: Floats) -> tuple[Floats, Floats]:
    share = np.linspace(0.0, 100.0, min(values.size, _CURVE_POINTS) + 1)[1:]
    return np.percentile(values, share, method="inverted_cdf"), share


def _positions(figure: Figure, title: str) -> Axes:
    axes = figure.subplots()
    _card_line(axes, card.PER_POSITION, _CARD, "-")
    _card_line(axes, card.AS_PRODUCT, "card, as product", ":")
    axes.set_title(title)
    axes.set_xlabel("position")
    axes.set_ylabel("% of drafts", color=INK)
    axes.set_ylim(0, 100)
    return axes


def _card_line(axes: Axes, shares: Sequence[float], label: str, style: str) -> None:
    at = range(1, len(shares) + 1)
    axes.plot(at, [100 * p for p in shares], color=REFERENCE, linestyle=style, label=label, linewidth=1.2)
