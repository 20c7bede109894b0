"""What the report says: headline, caveats, captions, numbers as text."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from loadtests.failures import REMEDY, Kind
from loadtests.report import card
from loadtests.report.acceptance import widest
from loadtests.report.data import View
from loadtests.stats import BLOCK_SECONDS, Estimate, speedup
from loadtests.summary import LATE_SHARE, Summary, TargetSummary

DOMAINS: Final = "Token-weighted time per output token by the domain of the request, with 95 % intervals."
PHASES: Final = "Token-weighted time per output token in each phase, with 95 % intervals. Lower is better."
GOOD: Final = "Share of requests that succeeded and met every latency target, with 95 % intervals. Higher is better."
LENGTHS: Final = (
    "Output tokens per streamed chunk after the first, which is what a step accepted, in each phase (by load) and by "
    "the domain of the request, with 95 % intervals."
)
REQUESTS: Final = (
    "Each request's own mean of tokens per step: how far acceptance differs between requests of one target. "
    "Speculation off is a line at 1."
)
PERCENTILE_ROWS: Final = (
    ("ttft", "TTFT, ms"),
    ("tpot", "TPOT, ms"),
    ("itl", "ITL, ms"),
    ("e2el", "E2EL, ms"),
    ("acceptance", "accepted length, tokens per step"),
)
METHOD: Final = (
    f"All times are taken by the client. Intervals hold 95 % and come from resampling blocks of {BLOCK_SECONDS:g} "
    "seconds within each phase, because requests served together are alike. TPOT is token-weighted: the time from "
    "first to last token, summed over requests, divided by the tokens after the first. Tokens are counted from the "
    "server's usage; throughput counts those that arrived within the seconds that count."
)


@dataclass(frozen=True, slots=True)
class Tile:
    """The figures that matter most, of one target, as text."""

    name: str
    colour: str
    tpot: str
    speedup: str
    throughput: str
    ttft: str
    good: str
    accepted: str
    failed: int
    requests: int


@dataclass(frozen=True, slots=True)
class FailureLine:
    target: str
    kind: str
    number: int
    remedy: str


def number(value: float | None, digits: int = 3) -> str:
    """Three significant digits, no exponent; a dash when not known."""
    if value is None:
        return "–"
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.{digits}g}"


def estimate(value: Estimate | None, unit: str = "") -> str:
    """`4.52 ms [4.41 – 4.63]`."""
    if value is None:
        return "–"
    text = f"{number(value.value)} {unit}".strip()
    return text if value.low is None else f"{text} [{number(value.low)} – {number(value.high)}]"


def times(gain: Estimate | None) -> str:
    """The speed-up that goes with percent of time saved: `1.67× [1.46 – 1.92]`."""
    faster = speedup(gain)
    if faster is None:
        return "–"
    text = f"{faster.value:.2f}×"
    return text if faster.low is None or faster.high is None else f"{text} [{faster.low:.2f} – {faster.high:.2f}]"


def headline(summary: Summary) -> str:
    """The answer in a sentence, with its certainty."""
    if not summary.gains:
        return "What was measured, target by target; no baseline was named, so nothing is compared."
    name, gain = _best(summary)
    if gain is None:
        return "The targets cannot be compared: too few requests succeeded."
    direction = "less" if gain.value >= 0 else "more"
    said = f"{name} took {abs(gain.value):.1f} % {direction} time per output token than {summary.info.baseline}"
    if faster := speedup(gain):
        said += f", {faster.value:.2f} times as fast"
    if gain.low is None or gain.high is None:
        return f"{said}; the run was too short to say how far chance could explain it."
    if gain.low <= 0 <= gain.high:
        return f"{said}, but that may be chance: the 95 % interval ({gain.low:+.1f} to {gain.high:+.1f} %) holds 0."
    return f"{said} (95 % interval {gain.low:+.1f} to {gain.high:+.1f} % saved)."


def _best(summary: Summary) -> tuple[str, Estimate | None]:
    overall = {name: parts.get("overall") for name, parts in summary.gains.items()}
    return max(overall.items(), key=lambda item: -1e9 if item[1] is None else item[1].value)


def caveats(summary: Summary) -> list[str]:
    """What a reader must know before believing the figures."""
    targets = summary.targets.values()
    found = []
    if silent := [t.name for t in targets if t.generator is None]:
        found.append(f"{listed(silent)}: the generator left no report of its own punctuality.")
    if late := [t for t in targets if (t.late_share or 0.0) > LATE_SHARE]:
        worst = max(t.late_share or 0.0 for t in late)
        found.append(
            f"{listed([t.name for t in late])}: up to {100 * worst:.1f} % of the generator's actions came late (more "
            f"than {100 * LATE_SHARE:g} % allowed). The generator was the bottleneck: no verdict on the servers."
        )
    for target in targets:
        if target.overall.failures:
            share = 100 * target.overall.failures / target.overall.requests
            found.append(f"{target.name}: {target.overall.failures} requests failed ({share:.2g} %).")
    if summary.info.interrupted:
        found.append("The run was interrupted; figures cover the part that ran.")
    return found


def tile(summary: Summary, target: TargetSummary, colour: str) -> Tile:
    whole = target.overall
    gain = summary.gains.get(target.name, {}).get("overall")
    return Tile(
        name=target.name,
        colour=colour,
        tpot=estimate(whole.tpot_ms, "ms"),
        speedup="1 (baseline)" if target.name == summary.info.baseline else times(gain),
        throughput=estimate(whole.tokens_per_second, "tok/s"),
        ttft=estimate(whole.percentiles["ttft"]["p95"], "ms"),
        good="–" if whole.good_share is None else f"{100 * whole.good_share.value:.1f} %",
        accepted=number(target.accepted_length or (whole.chunk_length.value if whole.chunk_length else None)),
        failed=whole.failures,
        requests=whole.requests,
    )


def failures(summary: Summary) -> list[FailureLine]:
    return [
        FailureLine(name, kind, count, REMEDY[Kind(kind)])
        for name, target in summary.targets.items()
        for kind, count in target.overall.failed.items()
    ]


def timeline(view: View) -> str:
    changes = Counter(event.kind for event in view.events)
    marked = ", ".join(f"{number} {kind}" for kind, number in changes.items())
    seen = f" Dashed lines mark events ({marked}); letters refer to the list below." if marked else ""
    blocks = (
        f" The {view.blocks} blocks stand one after the other, and arms that ran in turn lie on top of each other."
        if view.blocks > 1
        else ""
    )
    return f"The run on one time axis; shading separates the phases {listed(list(view.kinds))}.{blocks}{seen}"


def gain(view: View) -> str:
    return (
        f"How much less time per output token each target took than {view.summary.info.baseline}, overall and in each "
        "phase. Bars whose interval crosses zero show no significant difference."
    )


def latency(view: View) -> str:
    metrics = view.summary.info.plan.get("objectives", {})
    target = " The dotted line is the latency target." if metrics else ""
    return f"Share of requests at or below each latency. Further left is better.{target}"


def acceptance(view: View) -> str:
    said = [
        f"{name} {target.accepted_length:.2f}"
        for name, target in view.summary.targets.items()
        if target.accepted_length is not None
    ]
    return (
        f"Mean accepted length from the engines' counters: {', '.join(said) or 'not known'}. The model card of "
        f"{card.SPECULATOR} states {card.MEAN_ACCEPTED_LENGTH:.1f} (its figures read as cumulative; "
        f"{card.MEAN_ACCEPTED_LENGTH_AS_PRODUCT:.1f} if read as a product). Shares are of all drafts, so "
        "a K that changes lowers the later positions; those beyond the largest K were never drafted."
    )


def chunks(view: View) -> str:
    means = [
        f"{name} {length.value:.2f}"
        for name, target in view.summary.targets.items()
        if (length := target.overall.chunk_length) is not None
    ]
    return (
        "How many tokens a step brought, as clients saw it: an engine sends what one step accepted as one chunk. Mean: "
        f"{', '.join(means) or 'not known'}. The last bar is what the model card's figures, read as cumulative, imply."
    )


def positions(view: View) -> str:
    return (
        f"Of {widest(view)}, the target that was accepted most of: by each domain, from the chunks of its requests. "
        "Domains are those of the traffic; the card's figures are a mean over its own mix."
    )


def listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
