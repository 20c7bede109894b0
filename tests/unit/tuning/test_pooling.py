"""Resources of one environment share what engines cost; nothing crosses to another environment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from specdec.tuning import Kind, Reason, estimated_costs, inherited, new_state
from tests.support.engines import CHAT, CODE, Fleet, fleet, scaled

DEARER = scaled(estimated_costs(), 1.6, 0.05)


def settled() -> Fleet:
    running = fleet(costs=DEARER, profile=CHAT)
    for batch in (8, 40, 90):
        running.run(600, batch)
    return running


def test_a_newcomer_knows_what_its_elder_measured() -> None:
    elder, newcomer = settled(), fleet(costs=DEARER)
    heir = inherited(newcomer.state, elder.state)
    truth = np.log([DEARER.step_ms(k, np.array([90.0]))[0] for k in range(1, 8)])

    def error(log_ms: np.ndarray) -> float:
        away = log_ms[1:, 89] - truth
        return float(np.abs(away - away.mean()).max())

    assert error(heir.surface.log_ms(heir.grid)) < error(newcomer.state.surface.log_ms(newcomer.state.grid)) / 3


def test_a_newcomer_moves_without_a_trial_where_its_elder_had_to_try() -> None:
    elder, newcomer = settled(), fleet(costs=DEARER)
    newcomer.state = inherited(newcomer.state, elder.state)
    newcomer.run(60, 90)
    assert newcomer.decisions[0].reason is Reason.BETTER_SCHEDULE
    assert any(decision.kind is Kind.TRIAL for decision in elder.decisions)


def test_the_newcomers_own_traffic_soon_outvotes_the_elders() -> None:
    newcomer = fleet(costs=DEARER, profile=CODE)
    newcomer.state = inherited(newcomer.state, settled().state)
    alone = fleet(costs=DEARER, profile=CODE)
    newcomer.run(900, 40)
    alone.run(900, 40)
    assert newcomer.state.in_force.k_at(40) == alone.state.in_force.k_at(40)


def test_what_is_in_force_and_what_was_seen_stay_ones_own() -> None:
    elder, fresh = settled().state, fleet().state
    heir = inherited(fresh, elder)
    assert heir.in_force == fresh.in_force
    assert (heir.moves, heir.pods, heir.acceptance.seen_drafts) == ((), {}, 0.0)


def test_nothing_is_inherited_across_environments() -> None:
    elder = settled().state
    other = new_state(replace(elder.environment, gpu="another"), elder.prior)
    with pytest.raises(ValueError, match="nothing can be inherited"):
        inherited(other, elder)
