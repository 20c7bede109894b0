"""What the simulator's own estimated tables say the demo should show, were every switch instant and free.

A closed loop of B users keeps a batch of B requests (prefill and queues left out). A request of domain d yields
1 + sum(acceptance[d][:K]) tokens a step, so with f_d the share of generated tokens

    TPOT(K) = step_ms(B, K) * sum_d f_d / (1 + sum(acceptance[d][:K]))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from loadtests.plan import Phase, Plan


class StepTime(Protocol):
    """Milliseconds of one decode step of `batch` requests that verify `k` drafted tokens each."""

    def __call__(self, batch: int, k: int) -> float: ...


@dataclass(frozen=True, slots=True)
class Expected:
    """TPOT of one phase in milliseconds: at the card's K, and at the best K."""

    phase: str
    untuned_ms: float
    tuned_ms: float
    best_k: int


def expect(plan: Plan, step_ms: StepTime, acceptance: Mapping[str, Sequence[float]], card_k: int) -> list[Expected]:
    """One row per phase of `plan`, whose loads must be closed loops."""
    return [_phase(plan, phase, step_ms, acceptance, card_k) for phase in plan.phases]


def _phase(
    plan: Plan, phase: Phase, step_ms: StepTime, acceptance: Mapping[str, Sequence[float]], card_k: int
) -> Expected:
    batch = phase.load.users
    if batch is None:
        raise ValueError(f"phase {phase.name!r} is no closed loop, so its batch is not known beforehand")
    tokens = {name: weight * plan.scenario(name).output.median for name, weight in phase.mix.items()}
    total = sum(tokens.values())

    def tpot(k: int) -> float:
        waits = (
            share / total / (1 + sum(acceptance[plan.scenario(name).domain][:k])) for name, share in tokens.items()
        )
        return step_ms(batch, k) * sum(waits)

    best = min(range(1, card_k + 1), key=tpot)
    return Expected(phase.name, tpot(card_k), tpot(best), best)


def margin_percent(rows: Sequence[Expected], untuned: Mapping[str, float], tuned: Mapping[str, float]) -> float:
    """How much lower the tuned twin's token-weighted TPOT should be, percent of the untuned twin's.

    untuned, tuned: tokens that each twin generated per phase, its weights.
    """
    slow = sum(untuned[row.phase] * row.untuned_ms for row in rows) / sum(untuned[row.phase] for row in rows)
    fast = sum(tuned[row.phase] * row.tuned_ms for row in rows) / sum(tuned[row.phase] for row in rows)
    return 100 * (1 - fast / slow)
