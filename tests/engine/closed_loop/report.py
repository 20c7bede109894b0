"""The report of a closed-loop run: docs/closed-loop.md with its picture, made from the results alone."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any, Final

from tests.engine.closed_loop.phases import AUTO

TARGETS: Final = (
    ("the best single constant", "whole", 1.10),
    ("the best constant of each phase, in hindsight", "whole", 0.95),
    ("the same without the first 30 s of a phase", "settled", 0.97),
)

Table = dict[str, list[float]]


def write_report(results: Path, docs: Path) -> Path:
    """Write docs/closed-loop.md and its picture; the path of the page."""
    entries = [json.loads(line) for line in results.read_text().splitlines()]
    tables = {"whole": table(entries, "tokens_per_second"), "settled": table(entries, "settled_tokens_per_second")}
    (docs / "images").mkdir(exist_ok=True)
    picture = docs / "images" / "closed-loop.png"
    draw(entries, picture)
    page = docs / "closed-loop.md"
    page.write_text("\n".join(lines(entries, tables)) + "\n")
    return page


def table(entries: Iterable[dict[str, Any]], figure: str) -> Table:
    """Arm -> median over rounds of `figure` per phase."""
    found: dict[str, dict[int, list[float]]] = {}
    for entry in entries:
        found.setdefault(entry["arm"], {}).setdefault(entry["index"], []).append(entry[figure])
    return {arm: [median(phases[index]) for index in sorted(phases)] for arm, phases in found.items()}


def geometric_mean(values: Iterable[float]) -> float:
    logs = [math.log(max(value, 1e-9)) for value in values]
    return math.exp(sum(logs) / len(logs))


def best_constant(figures: Table) -> tuple[str, float]:
    """The constant with the highest geometric mean over the phases."""
    means = {arm: geometric_mean(values) for arm, values in figures.items() if arm != AUTO}
    arm = max(means, key=lambda name: means[name])
    return arm, means[arm]


def hindsight(figures: Table) -> float:
    """Geometric mean when every phase has its own best constant."""
    constants = [values for arm, values in figures.items() if arm != AUTO]
    return geometric_mean(max(column) for column in zip(*constants, strict=True))


def ratios(tables: dict[str, Table]) -> list[float]:
    """Auto against each of TARGETS."""
    auto = {kind: geometric_mean(figures[AUTO]) for kind, figures in tables.items()}
    return [
        auto["whole"] / best_constant(tables["whole"])[1],
        auto["whole"] / hindsight(tables["whole"]),
        auto["settled"] / hindsight(tables["settled"]),
    ]


def lines(entries: list[dict[str, Any]], tables: dict[str, Table]) -> Iterable[str]:
    whole = tables["whole"]
    phases = [e["phase"] for e in sorted((e for e in entries if e["arm"] == AUTO and e["round"] == 0), key=_index)]
    yield "# Auto against every constant K, on a real engine"
    yield ""
    yield (
        "Real vLLM on one CPU thread, a random 70 M Qwen3 with a 12 M DFlash drafter, synthetic acceptance. Load and "
        "acceptance change between phases, and nobody is told. Tokens per second, median over "
        f"{1 + max(e['round'] for e in entries)} round(s); Auto is the operator's tuner, scraper and client beside "
        "the engine, without a cluster. Made by `make bench-closed-loop`."
    )
    yield ""
    yield "| arm | " + " | ".join(phases) + " | geometric mean |"
    yield "|---|" + "---:|" * (len(phases) + 1)
    for arm, values in whole.items():
        cells = " | ".join(f"{value:.0f}" for value in values)
        yield f"| {arm if arm == AUTO else f'K = {arm}'} | {cells} | {geometric_mean(values):.1f} |"
    yield ""
    yield "| Auto against | ratio | target | |"
    yield "|---|---:|---:|---|"
    for (name, _, target), ratio in zip(TARGETS, ratios(tables), strict=True):
        yield f"| {name} | {ratio:.3f} | {target:.2f} | {'met' if ratio >= target else 'missed'} |"
    yield ""
    failed = sum(e["failures"] for e in entries)
    yield f"The best single constant is K = {best_constant(whole)[0]}. Failed requests: {failed}."
    yield ""
    yield "![K in force and tokens per second](images/closed-loop.png)"


def _index(entry: dict[str, Any]) -> int:
    return int(entry["index"])


def draw(entries: list[dict[str, Any]], path: Path) -> None:
    """Above, Auto's mean K over the first round; below, tokens per second of every arm by phase."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (upper, lower) = pyplot.subplots(2, 1, figsize=(10, 7), layout="constrained")
    auto = sorted((e for e in entries if e["arm"] == AUTO and e["round"] == 0), key=_index)
    start = 0.0
    for entry in auto:
        upper.plot([start + at for at, _ in entry["ks"]], [k for _, k in entry["ks"]], color="tab:blue")
        upper.axvline(start, color="lightgrey")
        upper.text(start, 7.3, entry["phase"], fontsize=8)
        start += entry["ks"][-1][0]
    upper.set(ylabel="mean K in force (Auto)", xlabel="seconds", ylim=(-0.2, 8))
    for arm, values in table(entries, "tokens_per_second").items():
        style = {"linewidth": 3.0} if arm == AUTO else {"linewidth": 1.0}
        lower.plot(range(len(values)), values, marker="o", label=arm if arm == AUTO else f"K = {arm}", **style)
    lower.set_xticks(range(len(auto)), [e["phase"] for e in auto])
    lower.set(ylabel="tokens per second", yscale="log")
    lower.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
