"""The report of a closed-loop run: docs/closed-loop.md with its picture, made from the results alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Final

from tests.engine.closed_loop.phases import AUTO, FULL, SEQUENCE, PhaseResult
from tests.engine.closed_loop.results import missing

TARGETS: Final = (
    ("the best single constant", "whole", 1.10),
    ("the best constant of each phase, in hindsight", "whole", 0.95),
    ("the same without the first 30 s of a phase", "settled", 0.97),
)

Table = dict[str, list[float]]


def write_report(results: Sequence[PhaseResult], docs: Path) -> Path:
    """Write docs/closed-loop.md and its picture; the path of the page. results: of phases of one length."""
    (docs / "images").mkdir(exist_ok=True)
    draw(results, docs / "images" / "closed-loop.png")
    page = docs / "closed-loop.md"
    page.write_text("\n".join(lines(results)) + "\n")
    return page


def table(results: Iterable[PhaseResult], kind: str) -> Table:
    """Arm -> median over rounds of tokens per second by phase. kind: "whole", or "settled" without a phase's begin."""
    found: dict[str, dict[int, list[float]]] = {}
    for result in results:
        speed = result.tokens_per_second if kind == "whole" else result.settled_tokens_per_second
        found.setdefault(result.arm, {}).setdefault(result.index, []).append(speed)
    return {arm: [median(found[arm][index]) for index in sorted(found[arm])] for arm in FULL.arms if arm in found}


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


def ratios(results: Sequence[PhaseResult]) -> list[float]:
    """Auto against each of TARGETS."""
    tables = {kind: table(results, kind) for kind in ("whole", "settled")}
    auto = {kind: geometric_mean(figures[AUTO]) for kind, figures in tables.items()}
    return [
        auto["whole"] / best_constant(tables["whole"])[1],
        auto["whole"] / hindsight(tables["whole"]),
        auto["settled"] / hindsight(tables["settled"]),
    ]


def lines(results: Sequence[PhaseResult]) -> Iterator[str]:
    figures = table(results, "whole")
    yield "# Auto against every constant K, on a real engine"
    yield ""
    yield (
        "Real vLLM on one CPU thread in float32, a random 70 M Qwen3 with a 12 M DFlash drafter, synthetic "
        "acceptance, in a pod of a real cluster. Load and acceptance change between phases (acceptance/requests at a "
        "time); nobody is told. "
        "In each round Auto has a fresh engine and an operator that knows nothing of it, may choose among 1 to 7, and "
        "its prior is that of another machine. The constants take turns on another fresh engine within each phase, set "
        "by the operator (`spec.tuning.min` = `max`), in alternating order, so that a slow minute of the machine hits "
        "all of them; on a CPU vLLM drafts no more than the K in force, so that is as good as a start at that K. "
        "Tokens per second by the engine's own counter, median over the rounds. Made by `make bench-closed-loop`."
    )
    yield ""
    yield contents(results)
    yield ""
    yield "| arm | " + " | ".join(phase.name for phase in SEQUENCE) + " | geometric mean |"
    yield "|---|" + "---:|" * (len(SEQUENCE) + 1)
    for arm, values in figures.items():
        cells = " | ".join(f"{value:.0f}" for value in values)
        yield f"| {named(arm)} | {cells} | {geometric_mean(values):.1f} |"
    yield ""
    yield from verdict(results, figures)
    yield f"Failed requests: {sum(result.failures for result in results)}."
    yield ""
    yield "![K in force and tokens per second](images/closed-loop.png)"


def whole(results: Sequence[PhaseResult]) -> bool:
    """Whether nothing of the protocol is missing or shortened."""
    return not missing(results, FULL) and results[0].phase_seconds >= FULL.phase_seconds


def contents(results: Sequence[PhaseResult]) -> str:
    """Exactly which part of the whole protocol the results are."""
    seconds = results[0].phase_seconds
    turns = f"phases of {seconds:.0f} s, which the {len(FULL.constants)} constants share"
    if whole(results):
        return f"All {FULL.rounds} rounds of all {len(FULL.arms)} arms, {turns}."
    arms = {number: {r.arm for r in results if r.round == number} for number in range(FULL.rounds)}
    rounds = (
        f"round {number + 1}: {', '.join(named(arm) for arm in FULL.arms if arm in found)}"
        for number, found in arms.items()
        if found
    )
    short = f" (the whole: {FULL.phase_seconds:.0f} s)" if seconds < FULL.phase_seconds else ""
    return f"**A shortened run**: {turns}{short}; {'; '.join(rounds)}. Too little to judge the targets by."


def verdict(results: Sequence[PhaseResult], figures: Table) -> Iterator[str]:
    if AUTO not in figures or len(figures) == 1:
        return
    yield "| Auto against | ratio | target | |"
    yield "|---|---:|---:|---|"
    for (name, _, target), ratio in zip(TARGETS, ratios(results), strict=True):
        judged = ("met" if ratio >= target else "missed") if whole(results) else "not judged"
        yield f"| {name} | {ratio:.3f} | {target:.2f} | {judged} |"
    yield ""
    arm, mean = best_constant(figures)
    yield (
        f"The best single constant is K = {arm}. The best constant of each phase yields "
        f"{hindsight(figures) / mean:.3f} times as much: more than that nobody can win here who only chooses K."
    )


def named(arm: str) -> str:
    return "Auto" if arm == AUTO else f"K = {arm}"


def draw(results: Sequence[PhaseResult], path: Path) -> None:
    """Above, Auto's mean K in its first round; below, tokens per second of every arm by phase."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (upper, lower) = pyplot.subplots(2, 1, figsize=(10, 7), layout="constrained")
    auto = [result for result in results if result.arm == AUTO]
    for result in (r for r in auto if r.round == auto[0].round):
        start = result.index * result.phase_seconds
        upper.plot([start + at for at, _ in result.ks], [k for _, k in result.ks], color="tab:blue")
        upper.axvline(start, color="lightgrey")
        upper.text(start, 7.3, result.phase, fontsize=8)
    upper.set(ylabel="mean K in force (Auto)", xlabel="seconds", ylim=(-0.2, 8))
    for arm, values in table(results, "whole").items():
        lower.plot(range(len(values)), values, marker="o", label=named(arm), linewidth=3.0 if arm == AUTO else 1.0)
    lower.set_xticks(range(len(SEQUENCE)), [phase.name for phase in SEQUENCE])
    lower.set(ylabel="tokens per second", yscale="log")
    lower.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
