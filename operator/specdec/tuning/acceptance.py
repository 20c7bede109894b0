"""Acceptance as conditional hazards per position, with positions beyond K treated as unseen, never as zero.

A hazard is the probability that position i is accepted given that all before it were. A fast memory follows the
traffic, a slow one remembers how hazards change from position to position: what the fast one cannot see (positions
beyond the K in force) continues the last visible hazard by those changes. A swift one only tells that traffic changed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from specdec.tuning.window import DRAFT_TOKENS, DRAFTS, POSITIONS, SCALARS, Interval

Floats = NDArray[np.float64]

SWIFT_HALF_LIFE_SECONDS: Final = 40.0
FAST_HALF_LIFE_SECONDS: Final = 400.0
SLOW_HALF_LIFE_SECONDS: Final = 14_400.0
DESIGN_EFFECT: Final = 50.0  # drafts of one request resemble each other: that many are worth one
SLOW_WEIGHT: Final = 10.0  # effective drafts that the slow memory is worth against the fast one
ALARM: Final = 4.5  # standard deviations between the swift and the fast memory that mean drift
OWN_DECAY: Final = 0.98  # hazard of a request at one position beside the one before
SPREAD_BOUNDS: Final = (0.2, 1.2)
CORRECTED: Final = 8  # positions whose survivors are followed
NORMAL_NODES, NORMAL_WEIGHTS = (
    np.array([-2.8570, -1.3556, 0.0, 1.3556, 2.8570]),
    np.array([0.011257, 0.222076, 0.533333, 0.222076, 0.011257]),
)
TAIL_SD: Final = 0.2  # how far an unseen hazard strays from the one before it, in logits
# Standard deviations, in logits, of how far traffic never seen lies from a prior: at position 1, where the packaged
# domains lie 0.9 apart, and per position after it, where the two readings of the model card differ by twice as much.
FIRST_SD: Final = 0.8
SLOPE_SD: Final = 0.3
THREE_NODES, THREE_WEIGHTS = (-1.7321, 0.0, 1.7321), (1 / 6, 2 / 3, 1 / 6)  # Gauss-Hermite


@dataclass(frozen=True, slots=True)
class AcceptanceMemory:
    """Counts per position, shape (3, POSITIONS), forgotten at three speeds: trials, acceptances, and the trials of the
    position before in drafts that verified this one too. `seen_drafts` is never forgotten.

    prior: hazards, shape (POSITIONS,), believed as much as `prior_drafts` effective drafts.
    """

    swift: Floats
    fast: Floats
    slow: Floats
    prior: Floats
    prior_drafts: float
    seen_drafts: float = 0.0
    alarms: int = 0


@dataclass(frozen=True, slots=True)
class AcceptanceEstimate:
    """hazards: shape (positions,), as many as were asked for.

    log_length: shape (positions + 1,), log of the mean accepted length, bonus token included, by K.

    covariance: shape (positions + 1, positions + 1), of `log_length`.
    effective_drafts: fast evidence on position 1.
    """

    hazards: Floats
    log_length: Floats
    covariance: Floats
    effective_drafts: float

    @property
    def cumulative(self) -> Floats:
        """Probability that the first i + 1 tokens are all accepted."""
        return np.cumprod(self.hazards, dtype=np.float64)


def from_profile(cumulative: tuple[float, ...], drafts: float) -> AcceptanceMemory:
    """Memory that believes in `cumulative` as much as `drafts` effective drafts would make it."""
    hazards, none = _continued(np.asarray(cumulative, dtype=float)), np.zeros((3, POSITIONS))
    return AcceptanceMemory(none, none, none, hazards, drafts)


def learn(memory: AcceptanceMemory, seen: Floats, drafts: float) -> AcceptanceMemory:
    """`memory` after the `evidence` of an interval with that many drafts."""
    return replace(
        memory,
        swift=memory.swift + seen,
        fast=memory.fast + seen,
        slow=memory.slow + seen,
        seen_drafts=memory.seen_drafts + drafts,
    )


def forget(memory: AcceptanceMemory, seconds: float) -> AcceptanceMemory:
    """`memory` after `seconds` without a sample."""
    return replace(
        memory,
        swift=memory.swift * 0.5 ** (seconds / SWIFT_HALF_LIFE_SECONDS),
        fast=memory.fast * 0.5 ** (seconds / FAST_HALF_LIFE_SECONDS),
        slow=memory.slow * 0.5 ** (seconds / SLOW_HALF_LIFE_SECONDS),
    )


def watch_for_drift(memory: AcceptanceMemory, before: AcceptanceMemory) -> AcceptanceMemory:
    """`memory`, its fast part cut back to what is recent when the two first positions say that the traffic changed.

    before: the memory without the newest round of samples. A jump shows in that round alone, a slide in the swift part.
    """
    newest = memory.fast - before.fast
    if _differs(newest, memory.fast):
        return replace(memory, swift=newest, fast=newest, alarms=memory.alarms + 1)
    if _differs(memory.swift, memory.fast):
        return replace(memory, fast=memory.swift, alarms=memory.alarms + 1)
    return memory


def _differs(recent: Floats, whole: Floats) -> bool:
    """Whether `recent` counts are too unlike the rest of `whole` to be of the same traffic."""
    newer = recent[:2, :2] / DESIGN_EFFECT
    older = whole[:2, :2] / DESIGN_EFFECT - newer
    if newer[0, 0] < 10.0 or older[0, 0] < 10.0:
        return False
    return any(_apart(*counts) for counts in np.concatenate((newer, older)).T.tolist())


def _apart(n: float, a: float, older_n: float, older_a: float) -> bool:
    """Whether `a` acceptances of `n` and `older_a` of `older_n` differ by more than chance allows."""
    rate = (a + older_a + 0.5) / (n + older_n + 1.0)
    if n <= 5.0 or not 0.0 < rate < 1.0:
        return False
    sd = math.sqrt(rate * (1 - rate) * (1 / max(n, 1.0) + 1 / max(older_n, 1.0)))
    return abs(a / max(n, 1e-9) - older_a / max(older_n, 1e-9)) / sd > ALARM


def patient(memory: AcceptanceMemory) -> AcceptanceMemory:
    """`memory` in which the last hours count for the last minutes."""
    return replace(memory, fast=memory.slow)


def evidence(interval: Interval) -> Floats:
    """Shape (3, POSITIONS): see AcceptanceMemory. From stock counters, K in force is draft tokens over drafts."""
    counts = interval.totals[SCALARS:].reshape(3, POSITIONS)
    if interval.exact:
        return counts
    drafts, accepted = interval.totals[DRAFTS], counts[1]
    if drafts <= 0:
        return np.zeros_like(counts)
    # a position that only some drafts verified cannot be told from a rejected one
    whole = interval.totals[DRAFT_TOKENS] / drafts - np.arange(POSITIONS) > 0.999
    reached = np.concatenate(([drafts], accepted[:-1]))
    before = np.concatenate(([drafts], reached[:-1]))
    return np.where(whole, (reached, accepted, before), 0.0)


def estimate(memory: AcceptanceMemory, positions: int, k_in_force: float) -> AcceptanceEstimate:
    """Posterior hazards of the first `positions`, and what they mean for the tokens that a step yields.

    k_in_force: the K under which the recent drafts were made; it decides which requests stay longest.
    """
    fast_n, fast_a = (memory.fast[:2, :positions] / DESIGN_EFFECT).tolist()
    found: list[tuple[float, float]] = []
    logit = 0.0
    for i, (n, a, expected, worth) in enumerate(zip(fast_n, fast_a, *_from_slow(memory, positions), strict=True)):
        prior = expected if i == 0 else 1.0 / (1.0 + math.exp(-logit - expected))
        weight = min(SLOW_WEIGHT, worth)
        h = min(max((min(a, n) + weight * prior) / (n + weight), 1e-4), 1 - 1e-4)
        found.append((h, h * (1 - h) / (n + weight + 1.0)))
        logit = math.log(h / (1 - h))
    hazards, variance = np.array(found).T
    log_length, gradient = _length(hazards)
    covariance = (gradient * variance) @ gradient.T
    log_length = log_length + _request_correction(hazards, k_in_force)
    return AcceptanceEstimate(hazards, log_length, covariance, fast_n[0])


def expected_log_length(memory: AcceptanceMemory, positions: int, k_in_force: float) -> Floats:
    """Shape (positions + 1,): `log_length` before anything was seen, averaged over drafters better and worse than the
    prior at the first position and further on. What it says of K minimises the expected regret, which the likeliest
    drafter alone does not.
    """
    total = np.zeros(positions + 1)
    for first, first_weight in zip(THREE_NODES, THREE_WEIGHTS, strict=True):
        for slope, slope_weight in zip(THREE_NODES, THREE_WEIGHTS, strict=True):
            logits = _logit(memory.prior) + FIRST_SD * first + SLOPE_SD * slope * np.arange(POSITIONS)
            one = estimate(replace(memory, prior=_expit(logits)), positions, k_in_force)
            total += first_weight * slope_weight * one.log_length
    return total


def _from_slow(memory: AcceptanceMemory, positions: int) -> tuple[list[float], list[float]]:
    """What the slow memory expects: the first hazard, then how the logit changes from position to position.

    The change at a position is taken only from drafts that verified it, so it stays true when K has been low for long.
    Second: effective drafts that each expectation is worth.
    """
    n, a, before = memory.slow[:, :positions] / DESIGN_EFFECT
    prior, believed = memory.prior[:positions], memory.prior_drafts
    here = (a + believed * prior) / (n + believed)
    there = (n[1:] + believed * prior[:-1]) / (before[1:] + believed)
    expected = np.concatenate((here[:1], _logit(here[1:]) - _logit(there)))
    spread = prior * (1 - prior)
    worth = 1.0 / (1.0 / (n + believed) + TAIL_SD**2 * spread)
    return expected.tolist(), worth.tolist()


def _length(hazards: Floats) -> tuple[Floats, Floats]:
    """log(1 + sum of the first K cumulative products) for each K, and its gradient by hazard."""
    cumulative = np.cumprod(hazards)
    length = np.concatenate(([1.0], 1.0 + np.cumsum(cumulative)))
    # d length[K] / d hazard[j] = (length[K] - length[j]) / hazard[j] for j < K
    gained = np.maximum(length[:, None] - length[None, :-1], 0.0)
    return np.log(length), gained / hazards[None, :] / length[:, None]


def _request_correction(hazards: Floats, k_in_force: float) -> Floats:
    """Shape (positions + 1,): what to add to the log length because requests differ in how well they are drafted.

    The counters average over drafts, and badly drafted requests make more of them. A request waits for its own tokens,
    so what counts is the mean over tokens of 1 / length. Requests are taken to differ by a common shift of their logits
    with the spread that survivors show: hazards that do not fall with the position, though single requests' do.
    """
    shifts = _request_spread(hazards) * NORMAL_NODES
    own = np.array(_own_hazards(hazards[:CORRECTED].tolist(), shifts.tolist()))
    if hazards.size > CORRECTED:
        own = np.concatenate((own, _expit(_logit(hazards[CORRECTED:, None]) + shifts)))
    length = np.ones((hazards.size + 1, shifts.size))
    length[1:] += own.cumprod(axis=0).cumsum(axis=0)
    seen_under = length[min(round(k_in_force), hazards.size)]
    by_token = NORMAL_WEIGHTS @ seen_under / ((seen_under / length) @ NORMAL_WEIGHTS)
    out: Floats = np.log(by_token) - np.log(length @ NORMAL_WEIGHTS)
    return out


def _own_hazards(hazards: list[float], shifts: list[float]) -> list[list[float]]:
    """Shape (positions, shifts): hazards of requests with each of `shifts`, whose survivors show `hazards` on average.

    Plain floats: arrays of five would cost more than they save.
    """
    survivors, out = NORMAL_WEIGHTS.tolist(), []
    for hazard in hazards:
        centre = _shifted_to(hazard, shifts, survivors)
        own = [1.0 / (1.0 + math.exp(-centre - shift)) for shift in shifts]
        survivors = [w * h for w, h in zip(survivors, own, strict=True)]
        total = sum(survivors)
        survivors = [w / total for w in survivors]
        out.append(own)
    return out


def _request_spread(hazards: Floats) -> float:
    """Standard deviation of requests in logits, from how much better survivors of position 1 are than all."""
    if hazards.size < 2:
        return SPREAD_BOUNDS[0]
    h = float(hazards[0])
    variance = max(h * h * (float(hazards[1]) / (h * OWN_DECAY) - 1.0), 0.0)
    return min(max(math.sqrt(variance) / (h * (1 - h)), SPREAD_BOUNDS[0]), SPREAD_BOUNDS[1])


def _shifted_to(hazard: float, shifts: list[float], survivors: list[float]) -> float:
    """The logit around which requests with `shifts` have the mean `hazard`. Newton's method, to 0.0004."""
    centre = math.log(hazard / (1 - hazard))
    for _ in range(2):
        seen = squared = 0.0
        for weight, shift in zip(survivors, shifts, strict=True):
            p = 1.0 / (1.0 + math.exp(-centre - shift))
            share = weight * p
            seen += share
            squared += share * p
        away = (hazard - seen) / max(seen - squared, 1e-6)
        centre = min(max(centre + min(max(away, -2.0), 2.0), -12.0), 12.0)
    return centre


def _continued(cumulative: Floats) -> Floats:
    """Hazards for POSITIONS positions: beyond the profile the last ratio of hazards goes on."""
    cumulative = np.maximum(cumulative, 1e-6)
    hazards = list(np.clip(cumulative / np.concatenate(([1.0], cumulative[:-1])), 0.01, 0.99))
    decay = min(hazards[-1] / hazards[-2], 1.0) if len(hazards) > 1 else 0.95
    while len(hazards) < POSITIONS:
        hazards.append(max(hazards[-1] * decay, 0.01))
    return np.array(hazards[:POSITIONS])


def _logit(p: Floats) -> Floats:
    q = np.minimum(np.maximum(p, 1e-4), 1 - 1e-4)
    out: Floats = np.log(q / (1 - q))
    return out


def _expit(x: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-x))
