"""How the load goes over a phase: rates as functions of time, and arrivals drawn from them."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import accumulate
from random import Random
from typing import Final, TypeAlias

from loadtests.plan import Burst, Diurnal, Load, Ramp, Step

Rate: TypeAlias = Callable[[float], float]
"""Requests per second at a number of seconds into the phase."""

GRID_SECONDS: Final = 0.05


def rate_of(load: Load, seconds: float) -> Rate | None:
    """The open-loop rate over a phase of `seconds`, None for a closed loop or a replay."""
    if load.rate is not None:
        constant = load.rate
        return lambda _: constant
    if load.ramp is not None:
        return _ramp(load.ramp, seconds)
    if load.steps is not None:
        return _steps(load.steps)
    if load.diurnal is not None:
        return _diurnal(load.diurnal)
    if load.burst is not None:
        return _burst(load.burst)
    return None


def arrivals(rate: Rate, seconds: float, variation: float, chance: Random) -> Iterator[float]:
    """Seconds into the phase at which requests arrive.

    Gaps are drawn at unit rate (gamma with the given coefficient of variation, 1 is Poisson, 0 is a metronome) and
    stretched through the integral of the rate, so any shape keeps its mean and its variability.
    """
    cells = max(1, math.ceil(seconds / GRID_SECONDS))
    width = seconds / cells
    expected = [0.0, *accumulate(rate((cell + 0.5) * width) * width for cell in range(cells))]
    due = _gap(variation, chance)
    while due < expected[-1]:
        cell = bisect_left(expected, due) - 1
        yield (cell + (due - expected[cell]) / (expected[cell + 1] - expected[cell])) * width
        due += _gap(variation, chance)


def _gap(variation: float, chance: Random) -> float:
    if variation == 0:
        return 1.0
    shape = 1.0 / variation**2
    return chance.gammavariate(shape, 1.0 / shape)


def _ramp(ramp: Ramp, seconds: float) -> Rate:
    return lambda at: ramp.start + (ramp.end - ramp.start) * at / seconds


def _steps(steps: tuple[Step, ...]) -> Rate:
    ends = list(accumulate(step.seconds for step in steps))

    def rate(at: float) -> float:
        return steps[min(bisect_left(ends, at), len(steps) - 1)].rate

    return rate


def _diurnal(day: Diurnal) -> Rate:
    middle, swing = (day.low + day.high) / 2, (day.high - day.low) / 2
    return lambda at: middle - swing * math.cos(2 * math.pi * at / day.period_seconds)


def _burst(burst: Burst) -> Rate:
    return lambda at: burst.peak if at % burst.every_seconds < burst.for_seconds else burst.base
