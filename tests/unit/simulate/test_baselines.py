"""The policies that ours is held against do what their names say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from specdec.simulate import kept, policies, suite, workloads
from specdec.simulate.policies import Bandit, EmaTiers, LinearGoodput, Seen
from specdec.simulate.rows import Row
from specdec.simulate.world import build
from specdec.tuning import acceptance_profiles, estimated_costs
from specdec.tuning.prior import ESTIMATED_PROFILES, packaged

PROFILES = acceptance_profiles(packaged(ESTIMATED_PROFILES))


def seen(drafts: float, accepted: float, seconds: float = 1.0, tokens: float = 1.0) -> Seen:
    by_k = np.zeros(8)
    by_k[7] = drafts
    return Seen(by_k, np.full(7, accepted / 7 * drafts), seconds, tokens)


def tpot_ms(rows: list[Row]) -> dict[str, float]:
    """By policy, of one seed."""
    return {row.policy: row.tpot_ms for row in rows if row.tpot_ms is not None}


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
    chosen = suite.Suite((steady,), suite.check_policies(["all"], 7), (9,), estimated_costs(), PROFILES)
    tpot = tpot_ms(suite.one(chosen, steady, 9))
    same_mode = {"ema-tiers", "linear-goodput", "ucb", "thompson", "static-schedule", "specdec-live"}
    assert all(tpot[name] > tpot["oracle"] * 0.9995 for name in same_mode)
    assert tpot["oracle-any"] <= tpot["oracle"] * 1.0005
    assert tpot["best-constant"] == min(tpot[f"constant-{k}"] for k in range(8))
    assert tpot["card"] == tpot["constant-7"]


def test_several_workloads_at_once_give_the_same_rows() -> None:
    names = [replace(workloads.find("mismatch"), seconds=600.0, name=name) for name in ("one", "two")]
    chosen = suite.Suite(tuple(names), ("card", "oracle"), (1, 2), estimated_costs(), PROFILES)
    both = suite.execute(chosen, jobs=2)
    assert both == suite.execute(chosen, jobs=1)
    assert [row for row in both if row.seed == 2] == suite.execute(replace(chosen, seeds=(2,)))


def test_a_run_that_was_cut_off_goes_on_with_what_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = replace(workloads.find("mismatch"), seconds=300.0)
    chosen = suite.Suite((short,), ("card",), (1, 2), estimated_costs(), PROFILES)
    path = kept.beside(tmp_path / "out.json")
    whole = suite.execute(chosen, finished=kept.Kept(path))
    first, second = path.read_text("utf-8").splitlines()
    path.write_text(f"{first}\n{second[:40]}", "utf-8")
    ran: list[int] = []

    def counted(*part: Any, run: Callable[..., list[Row]] = suite.one) -> list[Row]:
        ran.append(part[2])
        return run(*part)

    monkeypatch.setattr(suite, "one", counted)
    assert suite.execute(chosen, finished=kept.Kept(path)) == whole
    assert ran == [2]
    longer = replace(chosen, workloads=(replace(short, seconds=310.0),))
    assert suite.execute(longer, finished=kept.Kept(path)) != whole
    assert ran == [2, 1, 2]


def test_a_drift_that_is_cut_short_is_still_half_way() -> None:
    whole = workloads.find("drift")
    short = suite.shortened(whole, 12.0)
    assert short.drift_at_hours == 6.0
    at = np.array([0.0, 9.0]) * 3600.0
    begins = (whole.drift_at_hours or 0.0) * 3600.0 - 6 * 3600.0
    assert short.load_at(at) == pytest.approx(whole.load_at(at + begins))
    assert short.shares_at(5.9 * 3600.0) == pytest.approx(whole.shares_at(0.0))
    assert short.shares_at(6.1 * 3600.0) == pytest.approx(whole.shares_at(whole.seconds))


def test_replicas_are_restarted_one_by_one_and_lose_no_traffic() -> None:
    steady = replace(workloads.find("mismatch"), seconds=5400.0, restart_seconds=240.0)
    chosen = suite.Suite((steady,), ("constant-7", "specdec-restart"), (2,), estimated_costs(), PROFILES)
    rows = suite.one(chosen, steady, 2)
    restarts = {row.policy: row.restarts_per_replica_week for row in rows}
    per_week = 7 * 86_400 / 5400
    assert restarts["specdec-restart"] == pytest.approx(per_week)
    assert tpot_ms(rows)["specdec-restart"] < tpot_ms(rows)["constant-7"]
