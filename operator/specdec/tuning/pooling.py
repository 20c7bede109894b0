"""What resources of one environment learn from each other: a prior, never evidence of one's own."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from specdec.tuning import surface
from specdec.tuning.acceptance import DESIGN_EFFECT
from specdec.tuning.state import State
from specdec.tuning.surface import PODS, Filter

COST_DOUBT: Final = 0.01  # variance added to each weight of the step-time residual, its prior being 1
ACCEPTANCE_DRAFTS: Final = 20.0  # effective drafts that another resource's traffic is worth at most


def inherited(fresh: State, donor: State) -> State:
    """`fresh` with what `donor` has learned of step times and, far more doubtful, of acceptance.

    Raises ValueError where their environments differ: other engines have other costs.
    """
    if fresh.environment != donor.environment:
        raise ValueError(f"{donor.environment.key} is not {fresh.environment.key}; nothing can be inherited")
    size = fresh.belief.mean.size - PODS
    mean, covariance = fresh.belief.mean.copy(), fresh.belief.covariance.copy()
    mean[:size] = donor.belief.mean[:size]
    covariance[:size, :size] = donor.belief.covariance[:size, :size] + COST_DOUBT * np.eye(size)
    belief = Filter(mean, covariance, donor.belief.surprise)
    slow = donor.acceptance.slow
    share = min(1.0, ACCEPTANCE_DRAFTS * DESIGN_EFFECT / max(float(slow[0, 0]), 1e-9))
    return replace(
        fresh,
        belief=belief,
        surface=surface.posterior(belief, fresh.grid),
        acceptance=replace(fresh.acceptance, slow=slow * share),
    )
