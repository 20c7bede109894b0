"""Distributions: latencies with the objectives marked, tokens per chunk, acceptance per position."""

from __future__ import annotations

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from loadtests.report import card
from loadtests.report.data import View, latencies, tokens_per_chunk
from loadtests.report.style import INK, RC, REFERENCE, WIDTH_INCHES, Look, bare

_CURVE_POINTS = 250
_METRICS = (("ttft_ms", "ttftMs", "Time to first token"), ("tpot_ms", "tpotMs", "Time per output token"))


def latency_figure(view: View, look: Look) -> Figure | None:
    """Share of requests at or below each latency, one panel per metric; None when no request succeeded."""
    found = {m: {n: v for n in view.names if (v := latencies(view, n, m)).size} for m, _, _ in _METRICS}
    if not any(found.values()):
        return None
    objectives = view.summary.info.plan.get("objectives", {})
    with rc_context(RC):
        figure = Figure(figsize=(WIDTH_INCHES, 3.6), layout="constrained")
        for axes, (metric, objective, title) in zip(figure.subplots(1, 2), _METRICS, strict=True):
            for name, values in found[metric].items():
                share = np.linspace(0.0, 100.0, min(values.size, _CURVE_POINTS) + 1)[1:]
                shown = np.percentile(values, share, method="inverted_cdf")
                (line,) = axes.step(shown, share, where="post", **look.line(name))
                line.set_gid(f"data-latency-{metric}-{name}")
            if objective in objectives:
                axes.axvline(objectives[objective], color=REFERENCE, linestyle=(0, (2, 2)), linewidth=1)
                axes.text(objectives[objective], 3, " target", color=REFERENCE, fontsize=8.5)
            axes.set_title(title)
            axes.set_xlabel("ms")
            axes.set_ylim(0, 101)
            tail = [float(np.percentile(v, 99.5)) for v in found[metric].values()]
            axes.set_xlim(0, max([*tail, objectives.get(objective, 0.0)], default=1.0) * 1.1)
        figure.axes[0].set_ylabel("% of requests at or below")
        _legend(figure, len(view.names))
        return figure


def chunk_figure(view: View, look: Look) -> Figure | None:
    """How many tokens came per chunk; None when nothing was streamed."""
    shares = {name: tokens_per_chunk(view, name) for name in view.names}
    if not any(counted for counted, _ in shares.values()):
        return None
    with rc_context(RC):
        figure = Figure(figsize=(WIDTH_INCHES / 2, 3.4), layout="constrained")
        axes = figure.subplots()
        most = max(max(counted, default=1) for counted, _ in shares.values())
        width = 0.8 / len(shares)
        for place, (name, (counted, _)) in enumerate(shares.items()):
            at = np.arange(1, most + 1) + (place - (len(shares) - 1) / 2) * width
            bars = axes.bar(at, [100 * counted.get(n, 0.0) for n in range(1, most + 1)], width, color=look.colour(name))
            for number, bar in enumerate(bars):
                bar.set_gid(f"data-chunks-{name}-{number}")
        exact = all(is_exact for _, is_exact in shares.values())
        axes.set_title("Tokens per chunk" if exact else "Tokens per chunk (request means)")
        axes.set_xlabel("tokens")
        axes.set_ylabel("% of chunks")
        axes.set_xticks(range(1, most + 1))
        bare(axes)
        return figure


def acceptance_figure(view: View, look: Look) -> Figure | None:
    """Share of drafts accepted up to each position beside the model card's figures; None without counters."""
    found = {name: t.per_position for name, t in view.summary.targets.items() if t.per_position}
    if not found:
        return None
    with rc_context(RC):
        figure = Figure(figsize=(WIDTH_INCHES / 2, 3.4), layout="constrained")
        axes = figure.subplots()
        places = range(1, len(card.PER_POSITION) + 1)
        axes.plot(places, [100 * p for p in card.PER_POSITION], color=REFERENCE, label="model card", linewidth=1.2)
        product = [100 * p for p in card.AS_PRODUCT]
        axes.plot(places, product, color=REFERENCE, linestyle=":", label="card, as product", linewidth=1.2)
        for name, shares in found.items():
            at = range(1, len(shares) + 1)
            (line,) = axes.plot(at, [100 * s for s in shares], marker=look.marker(name), **look.line(name))
            line.set_gid(f"data-acceptance-{name}")
        axes.set_title("Drafts accepted up to position")
        axes.set_xlabel("position")
        axes.set_ylabel("% of drafts", color=INK)
        axes.set_ylim(0, 100)
        axes.legend(fontsize=8.5)
        return figure


def _legend(figure: Figure, columns: int) -> None:
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=min(columns, 9))
