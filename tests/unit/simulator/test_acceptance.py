"""Luck: the rates of a profile, exactly; the same luck for the same key, whatever K was."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdec_simulator.acceptance import DRAWS, Acceptance, Luck, ProfileError, checked, load, shifted
from tests.unit.simulator.builders import PROFILES


def rates(luck: Luck) -> list[float]:
    """Share of all draws of one request in which the first i drafts were accepted."""
    drawn = [luck.table[(luck.at + n * luck.stride) % DRAWS] for n in range(DRAWS)]
    return [sum(count >= i for count in drawn) / DRAWS for i in range(1, 8)]


@pytest.mark.parametrize("domain", sorted(PROFILES))
def test_a_request_sees_the_rates_of_its_domain_exactly(domain: str) -> None:
    luck = Acceptance(PROFILES, {"chat": 1.0}, seed=3).deal("17", domain)
    assert rates(luck) == pytest.approx(PROFILES[domain], abs=1 / DRAWS)


def test_the_same_key_has_the_same_luck_and_another_seed_another() -> None:
    first, again = (Acceptance(PROFILES, {"chat": 1.0}, seed=3).deal("17", "chat") for _ in range(2))
    other = Acceptance(PROFILES, {"chat": 1.0}, seed=4).deal("17", "chat")
    assert (first.at, first.stride, first.table) == (again.at, again.stride, again.table)
    assert (first.at, first.stride) != (other.at, other.stride)


def test_a_request_without_a_domain_gets_one_of_the_mix() -> None:
    acceptance = Acceptance(PROFILES, {"math": 3.0, "hard": 1.0})
    tables = [acceptance.deal(str(number), None).table for number in range(2000)]
    math = acceptance.deal("0", "math").table
    assert tables.count(math) / len(tables) == pytest.approx(0.75, abs=0.04)


def test_spread_sets_requests_of_one_domain_apart() -> None:
    acceptance = Acceptance(PROFILES, {"chat": 1.0}, spread=0.4)
    firsts = {rates(acceptance.deal(str(number), "chat"))[0] for number in range(40)}
    assert len(firsts) == 8
    assert min(firsts) < PROFILES["chat"][0] < max(firsts)


def test_drift_and_mismatch_change_new_requests_and_can_be_ended() -> None:
    acceptance = Acceptance(PROFILES, {"chat": 1.0})
    usual = acceptance.deal("1", "chat").table
    acceptance.replace({"chat": "hard"})
    assert acceptance.deal("1", "chat").table == acceptance.deal("1", "hard").table != usual
    acceptance.mismatch()
    assert rates(acceptance.deal("1", "math"))[0] == pytest.approx(0.12, abs=0.001)
    acceptance.replace({})
    assert acceptance.deal("1", "chat").table == usual


@given(st.lists(st.floats(0, 1), min_size=7, max_size=7), st.floats(-3, 3))
@settings(deadline=None)
def test_a_shifted_profile_is_a_profile(drawn: list[float], logits: float) -> None:
    profile = tuple(sorted(drawn, reverse=True))
    moved = shifted(profile, logits)
    assert all(0 <= b <= a <= 1 for a, b in pairwise(moved))
    assert all((m >= p - 1e-9) if logits > 0 else (m <= p + 1e-9) for m, p in zip(moved, profile, strict=True))


@pytest.mark.parametrize("profile", [(), (0.5,) * 8, (0.5, 0.6), (1.2,), (-0.1,)])
def test_what_is_no_profile_is_refused(profile: tuple[float, ...]) -> None:
    with pytest.raises(ProfileError):
        checked(profile)


@pytest.mark.parametrize("mix", [{}, {"poetry": 1.0}, {"chat": 0.0}, {"chat": -1.0, "math": 2.0}])
def test_what_is_no_mix_is_refused(mix: dict[str, float]) -> None:
    with pytest.raises(ProfileError):
        Acceptance(PROFILES, mix)


def test_drift_to_an_unknown_domain_is_refused() -> None:
    with pytest.raises(ProfileError, match="poetry"):
        Acceptance(PROFILES, {"chat": 1.0}).replace({"chat": "poetry"})


def test_a_file_without_profiles_is_refused(tmp_path: object) -> None:
    with pytest.raises(ProfileError):
        load(__import__("pathlib").Path(str(tmp_path)) / "none.json")
