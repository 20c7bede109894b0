"""What trials cost is told by the true step times, not by what the tuner expected of them."""

from __future__ import annotations

import numpy as np
import pytest

from specdec.api.schedule import constant
from specdec.simulate.explored import Explored
from specdec.simulate.tuned import Done
from specdec.tuning import Decision, Gain, Kind, Reason

COST = np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [1.1, 1.1, 1.1], [0.9, 0.9, 0.9]])
"""True time per token: K = 2 costs more than K = 1, K = 3 less."""
BATCH, REQUESTS = np.array([2, 1]), np.array([3.0, 1.0])


def decided(kind: Kind, before: int, after: int) -> Done:
    """A decision that its tuner expected to gain 5 %."""
    decision = Decision(kind, constant(after, 2), Gain(5.0, 4.0, 6.0), Reason.LEARNING, "", 0.0, trial_seconds=30.0)
    return Done(0.0, decision, np.full(3, before), np.full(3, after))


def lost(*steps: Done | int) -> float:
    """Percent lost when each decision is followed by as many ticks as the number after it says."""
    explored = Explored()
    for step in steps:
        if isinstance(step, Done):
            explored.decided(step)
        else:
            for _ in range(step):
                explored.tick(BATCH, REQUESTS, COST)
    return explored.lost_percent()


@pytest.mark.parametrize(
    ("steps", "share"),
    [
        pytest.param((decided(Kind.TRIAL, 1, 2), 2, decided(Kind.LIVE, 2, 1), 8), 0.2, id="as long as it ran"),
        pytest.param((8, decided(Kind.TRIAL, 1, 2), 2), 0.2, id="a trial that the run cuts off"),
        pytest.param((decided(Kind.TRIAL, 1, 2), 2, decided(Kind.TRIAL, 2, 2), 3, 5), 1.0, id="one after the other"),
        pytest.param((decided(Kind.LIVE, 1, 2), 10), 0.0, id="a move is no trial"),
        pytest.param((decided(Kind.TRIAL, 1, 3), 5, decided(Kind.LIVE, 3, 3), 5), 0.0, id="a gain counts 0"),
        pytest.param(
            (decided(Kind.TRIAL, 1, 3), 5, decided(Kind.LIVE, 3, 1), decided(Kind.TRIAL, 1, 2), 5), 0.5, id="no offset"
        ),
        pytest.param((), 0.0, id="nothing ran"),
    ],
)
def test_a_trial_costs_what_it_truly_lost(steps: tuple[Done | int, ...], share: float) -> None:
    assert lost(*steps) == pytest.approx(share * 100.0 * np.log(1.1))
