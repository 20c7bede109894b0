"""The fast simulation against the one that draws every token."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from specdec.simulate import workloads
from specdec.simulate.exact import compare
from specdec.tuning import acceptance_profiles, estimated_costs
from specdec.tuning.prior import ESTIMATED_PROFILES, packaged

PROFILES = acceptance_profiles(packaged(ESTIMATED_PROFILES))


@pytest.mark.parametrize(("k", "load"), [pytest.param(3, 0.35, id="middle load"), pytest.param(7, 0.1, id="low load")])
def test_the_fast_simulation_agrees_with_every_event_to_a_fifth_of_a_percent(k: int, load: float) -> None:
    steady = workloads.find("steady")
    short = replace(steady, seconds=1800.0, load=((0.0, load),), balance=(1.0, 1.0), slower=(1.0, 1.0))
    found = compare(short, estimated_costs(), PROFILES, np.full(257, k), seed=5)
    assert abs(found.difference_percent) < 0.2
