"""The policies that ours is held against do what their names say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from specdec.simulate import policies, suite, workloads
from specdec.simulate.policies import Bandit, EmaTiers, LinearGoodput, Seen
from specdec.simulate.world import build
from specdec.tuning import acceptance_profiles, estimated_costs
from specdec.tuning.prior import ESTIMATED_PROFILES, packaged

PROFILES = acceptance_profiles(packaged(ESTIMATED_PROFILES))


def seen(drafts: float, accepted: float, seconds: float = 1.0, tokens: float = 1.0) -> Seen:
    by_k = np.zeros(8)
    by_k[7] = drafts
    return Seen(by_k, np.full(7, accepted / 7 * drafts), seconds, tokens)


def test_ema_tiers_follow_the_accepted_length() -> None:
    policy = EmaTiers(7, 256)
    policy.first()
    table = policy.tick(0.0, seen(1000, 1.2))
    assert table is not None
    assert set(table) == {2}
    assert policy.tick(15.0, seen(1010, 1.2)) is None


def test_linear_goodput_lowers_k_when_less_is_accepted() -> None:
    world = build(workloads.find("steady"), estimated_costs(), PROFILES)
    policy = LinearGoodput(policies.linear_profile(world), weight=1.0)
    high = policy.first()
    low = policy.tick(0.0, seen(1000, 7 * 0.3))
    assert low is not None
    assert (low <= high).all()
    assert (low < high).any()


@pytest.mark.parametrize("thompson", [False, True])
def test_a_bandit_tries_every_arm_and_settles_on_the_best(thompson: bool) -> None:
    bandit, at = Bandit(7, 16, thompson, np.random.default_rng(1)), 0.0
    total = Seen(np.zeros(8), np.zeros(7), 0.0, 0.0)
    for _ in range(400):
        pay = 1.0 - 0.2 * abs(bandit.arm + 1 - 4)
        total = Seen(total.drafts, total.accepted, total.request_seconds + 1.0, total.tokens + pay)
        bandit.tick(at, total)
        at += 60.0
    assert int(bandit.plays.argmax()) + 1 == 4
    assert (bandit.plays > 0).all()


def test_the_oracle_is_never_beaten_by_a_policy_of_the_same_mode() -> None:
    steady = replace(workloads.find("steady"), seconds=2400.0, load=((0.0, 0.4),))
    chosen = suite.Suite((steady,), suite.check_policies(["all"]), (9,), estimated_costs(), PROFILES)
    rows = {row.policy: row for row in suite.one(chosen, steady)}
    same_mode = {"ema-tiers", "linear-goodput", "ucb", "thompson", "static-schedule", "specdec-live"}
    assert all(rows[name].regret_oracle_percent > -0.05 for name in same_mode)
    assert rows["oracle-any"].tpot_ms <= rows["oracle"].tpot_ms * 1.0005
    assert rows["best-constant"].tpot_ms == min(rows[f"constant-{k}"].tpot_ms for k in range(8))
    assert rows["card"].tpot_ms == rows["constant-7"].tpot_ms


def test_several_workloads_at_once_give_the_same_rows() -> None:
    names = [replace(workloads.find("mismatch"), seconds=600.0, name=name) for name in ("one", "two")]
    chosen = suite.Suite(tuple(names), ("card", "oracle"), (1,), estimated_costs(), PROFILES)
    assert suite.execute(chosen, jobs=2) == suite.execute(chosen, jobs=1)


def test_replicas_are_restarted_one_by_one_and_lose_no_traffic() -> None:
    steady = replace(workloads.find("mismatch"), seconds=5400.0, restart_seconds=240.0)
    chosen = suite.Suite((steady,), ("constant-7", "specdec-restart"), (2,), estimated_costs(), PROFILES)
    rows = {row.policy: row for row in suite.one(chosen, steady)}
    per_week = 7 * 86_400 / 5400
    assert rows["specdec-restart"].restarts_per_replica_week == pytest.approx(per_week)
    assert rows["specdec-restart"].tpot_ms < rows["constant-7"].tpot_ms
