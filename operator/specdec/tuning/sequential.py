"""Always-valid intervals for a mean: they hold at every look, so whoever watches may stop as soon as one is clear.

The interval is what is left when every mean is struck out against which the evidence has grown too strong: the test
martingale of a normal mean with unknown scale, its effect size mixed over a normal distribution (Lai 1976, Robbins
1970; the Bayes factor with the right Haar prior on the scale). By Ville's inequality the true mean is struck out at
any time whatever with probability `alpha` at most, as long as the observations are independent and normal.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
from typing import Final, Self

EFFECT_SD: Final = 1.0  # spread of the effect sizes (mean over scatter) among which the mixture is spread


@dataclass(frozen=True, slots=True)
class Running:
    """Count, mean and sum of squared deviations of what was seen."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def added(self, value: float) -> Self:
        """With one observation more (Welford's update)."""
        count = self.count + 1
        away = value - self.mean
        mean = self.mean + away / count
        return type(self)(count, mean, self.squares + away * (value - mean))

    def half_width(self, alpha: float) -> float:
        """Half the width of the interval around the mean, infinite while nothing can be said."""
        if self.count < 2:
            return inf
        weight = 1.0 / EFFECT_SD**2
        spread = weight / (self.count + weight)
        grown = (1.0 / (alpha**2 * spread)) ** (1.0 / self.count)
        left = 1.0 - grown * spread
        # equal observations have no scatter to measure anything by
        if left <= 0.0 or self.squares <= 0.0:
            return inf
        return sqrt(self.squares / self.count * (grown - 1.0) / left)
