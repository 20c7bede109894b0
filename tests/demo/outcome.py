"""What the demo showed: the tuned twin against the untuned one and against the model, and what clients felt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from loadtests.plan import Plan
from loadtests.report import build_report
from loadtests.stats import Estimate
from loadtests.summary import Summary, TargetSummary, summarise
from specdec_simulator import acceptance, costs
from tests.demo.engines import Engine
from tests.demo.predict import Expected, expect, margin_percent
from tests.demo.scene import SYSTEM_NAMESPACE
from tests.demo.steps import DemoError
from tests.demo.watch import Kept, reversals
from tests.support.kubectl import Kubectl

CARD_K: Final = 7
MOST_REVERSALS: Final = 1
# Of the promised margin: trials, and the seconds until a change is noticed, take the rest.
LEAST_SHARE: Final = 2 / 3
# The same where operators are killed: without a leader nothing is noticed until the Lease has run out.
LEAST_SHARE_WITH_KILLS: Final = 1 / 2


@dataclass(frozen=True, slots=True)
class Changes:
    """What became of the tuned twin's schedule within a phase, short trials left out.

    count: schedules that came into force. reversals: how often K at the phase's batch turned back.
    """

    count: int
    reversals: int


@dataclass(frozen=True, slots=True)
class Kills:
    """Operator pods that were to be killed, that were, and how many of those held the Lease."""

    asked: int
    done: int
    leaders: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """margin: percent less time per output token than the untuned twin. expected: what the cost tables promise, if any.

    changes: by phase. disturbed: engine pods that restarted or were replaced.
    """

    engine: Engine
    summary: Summary
    expected: Sequence[Expected]
    margin: float
    expected_margin: float | None
    changes: Mapping[str, Changes]
    kills: Kills
    disturbed: Sequence[str]
    report: Path

    @property
    def failures(self) -> int:
        return sum(target.overall.failures for target in self.summary.targets.values())

    @property
    def shortcomings(self) -> tuple[str, ...]:
        """What keeps this from being a good outcome, a sentence each; empty when it is one."""
        share = LEAST_SHARE_WITH_KILLS if self.kills.asked else LEAST_SHARE
        least = share * (self.expected_margin or 0.0)
        flapping = [phase for phase, changes in self.changes.items() if changes.reversals > MOST_REVERSALS]
        found = {
            "the tuned twin was not faster": self.margin <= 0,
            f"less than {least:.1f} % was gained, {100 * share:.0f} % of what the tables promise": 0
            < self.margin
            < least,
            "the schedule of the tuned twin never changed": not any(c.count for c in self.changes.values()),
            f"K turned back more than once during {', '.join(flapping)}": bool(flapping),
            f"{self.failures} requests failed": self.failures > 0,
            f"engine pods restarted or were replaced: {', '.join(self.disturbed)}": bool(self.disturbed),
            f"{self.kills.done} of {self.kills.asked} operator pods were killed": self.kills.done < self.kills.asked,
        }
        return tuple(sentence for sentence, true in found.items() if true)

    def show(self, console: Console, kubectl: Kubectl, seconds: float) -> None:
        """The verdict, the table of phases, and where to look next."""
        console.print(self._table())
        expectation = (
            ""
            if self.expected_margin is None
            else f" (the simulator's estimated tables promise {self.expected_margin:.1f} % less)"
        )
        direction = "lower" if self.margin > 0 else "higher"
        console.print(f"TPOT of the tuned twin is [bold]{abs(self.margin):.1f} % {direction}[/]{expectation}.")
        console.print(
            f"Failed requests: {self.failures}. Operator pods killed: {self.kills.done}, of them leaders: "
            f"{self.kills.leaders}. Engine pods disturbed: {len(self.disturbed)}."
        )
        for sentence in self.shortcomings:
            console.print(f"[bold red]Not good:[/] {sentence}.", highlight=False)
        console.print(f"Report: {self.report}\nThe whole demo took {seconds:.0f} s. To look around:", highlight=False)
        console.print(f"  export KUBECONFIG={kubectl.kubeconfig}", highlight=False)
        console.print(f"  kubectl -n {kubectl.namespace} get specdep -o wide", highlight=False)
        console.print(f"  kubectl -n {kubectl.namespace} describe specdep {self.engine.tuned}", highlight=False)
        console.print(f"  kubectl -n {SYSTEM_NAMESPACE} logs deploy/specdec-specdec-operator", highlight=False)

    def _table(self) -> Table:
        table = Table(title="Time per output token, ms", title_justify="left")
        for column in ("phase", "untuned", "tuned", "less", "promised", "best K", "changes", "reversals"):
            table.add_column(column, justify="left" if column == "phase" else "right")
        promised = {row.phase: row for row in self.expected}
        for phase, changes in self.changes.items():
            slow, fast = (_tpot(self.summary.targets[name], phase) for name in (self.engine.untuned, self.engine.tuned))
            row = promised.get(phase)
            hope = ("", "") if row is None else (f"{100 * (1 - row.tuned_ms / row.untuned_ms):.1f} %", str(row.best_k))
            less = f"{100 * (1 - fast / slow):.1f} %"
            table.add_row(phase, f"{slow:.1f}", f"{fast:.1f}", less, *hope, str(changes.count), str(changes.reversals))
        return table


def judge(
    folder: Path, plan: Plan, engine: Engine, kept: Sequence[Kept], kills: Kills, disturbed: Sequence[str]
) -> Outcome:
    """Read the run in `folder` and write its report there. kept: the tuned twin's schedules."""
    summary = summarise(folder)
    report = build_report(folder).html
    twins = [summary.targets[name] for name in (engine.untuned, engine.tuned)]
    slow, fast = (_overall(twin) for twin in twins)
    expected = _expected(plan) if engine.simulated else ()
    tokens = [{phase: float(group.output_tokens) for phase, group in twin.phases.items()} for twin in twins]
    return Outcome(
        engine=engine,
        summary=summary,
        expected=expected,
        margin=100 * (1 - fast / slow),
        expected_margin=margin_percent(expected, *tokens) if expected else None,
        changes=_changes(kept, plan),
        kills=kills,
        disturbed=disturbed,
        report=report,
    )


def disturbed(before: Mapping[str, int], after: Mapping[str, int]) -> list[str]:
    """Engine pods whose restart count grew, that vanished, or that came anew."""
    return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))


def _expected(plan: Plan) -> Sequence[Expected]:
    step = costs.StepCosts(costs.load(), start_k=CARD_K, capture_tokens=None)

    def step_ms(batch: int, k: int, prompt: int) -> float:
        return 1000 * step.seconds(decodes=batch, prefills=0, k=k, prefill_tokens=prompt)

    return expect(plan, step_ms, acceptance.load(), CARD_K)


def _changes(kept: Sequence[Kept], plan: Plan) -> dict[str, Changes]:
    edges = (*plan.starts(), plan.seconds)
    return {
        phase.name: Changes(
            count=sum(start < one.t < end for one in kept[1:]),
            reversals=reversals(kept, phase.load.users or 1, start, end),
        )
        for phase, (start, end) in zip(plan.phases, pairwise(edges), strict=True)
    }


def _overall(twin: TargetSummary) -> float:
    return _known(twin.overall.tpot_ms, twin.name, "the whole run")


def _tpot(twin: TargetSummary, phase: str) -> float:
    return _known(twin.phases[phase].tpot_ms, twin.name, phase)


def _known(estimate: Estimate | None, twin: str, part: str) -> float:
    if estimate is None:
        raise DemoError(f"{twin} answered nothing during {part}")
    return estimate.value
