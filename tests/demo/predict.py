"""What the simulator's own estimated tables say the demo should show, were every switch instant and free.

A closed loop of B users keeps a batch of B requests (queues left out). A request of domain d yields
1 + sum(acceptance[d][:K]) tokens a step, so with f_d the share of generated tokens a token takes
s(K) = sum_d f_d / (1 + sum(acceptance[d][:K])) steps. Whenever a request ends another begins, whose prompt joins a
step: B / s(K) / (tokens per answer) requests a step, Poisson distributed. Hence

    TPOT(K) = s(K) * E[step_ms(B, K, prompt tokens in the step)]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp
from typing import Final, Protocol

from loadtests.plan import Phase, Plan
from loadtests.scenarios import Lengths

MOST_PROMPTS: Final = 20  # in one step; more are too rare to count


class StepTime(Protocol):
    """Milliseconds of one step of `batch` requests that verify `k` drafted tokens each beside `prompt` new tokens."""

    def __call__(self, batch: int, k: int, prompt: int) -> float: ...


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
    total = sum(phase.mix.values())
    weights = {name: weight / total for name, weight in phase.mix.items()}
    answers = {name: weight * _mean(plan.scenario(name).output) for name, weight in weights.items()}
    answer = sum(answers.values())
    prompt = round(sum(weight * _mean(plan.scenario(name).prompt) for name, weight in weights.items()))

    def tpot(k: int) -> float:
        steps = sum(
            tokens / answer / (1 + sum(acceptance[plan.scenario(name).domain][:k])) for name, tokens in answers.items()
        )
        joining = _poisson(batch / steps / answer)
        return steps * sum(chance * step_ms(batch, k, count * prompt) for count, chance in enumerate(joining))

    best = min(range(1, card_k + 1), key=tpot)
    return Expected(phase.name, tpot(card_k), tpot(best), best)


def _mean(lengths: Lengths) -> float:
    """Of a log-normal distribution; that its tails are clipped is left out."""
    return lengths.median * exp(lengths.spread**2 / 2)


def _poisson(mean: float) -> list[float]:
    """Probability of 0, 1, 2 ... events."""
    found = [exp(-mean)]
    for count in range(1, MOST_PROMPTS + 1):
        found.append(found[-1] * mean / count)
    return found


def margin_percent(rows: Sequence[Expected], untuned: Mapping[str, float], tuned: Mapping[str, float]) -> float:
    """How much lower the tuned twin's token-weighted TPOT should be, percent of the untuned twin's.

    untuned, tuned: tokens that each twin generated per phase, its weights.
    """
    slow = sum(untuned[row.phase] * row.untuned_ms for row in rows) / sum(untuned[row.phase] for row in rows)
    fast = sum(tuned[row.phase] * row.tuned_ms for row in rows) / sum(tuned[row.phase] for row in rows)
    return 100 * (1 - fast / slow)
