"""How many drafted tokens the target accepts, by the domain of a request. Seeded: the same traffic gets the same luck.

A profile gives, for i = 1..7, the probability that the first i drafted tokens are all accepted. The shipped profiles
(`data/acceptance-profiles-estimate.json`) are estimates.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Final

DEFAULT_PROFILES: Final = Path(__file__).parent / "data" / "acceptance-profiles-estimate.json"
MISMATCHED: Final = "mismatched-drafter"
POSITIONS: Final = 7
DRAWS: Final = 1 << 14
# Standard normal quantiles at the middle of eight equal shares: what sets requests of one domain apart.
_QUANTILES: Final = (-1.534, -0.887, -0.489, -0.157, 0.157, 0.489, 0.887, 1.534)

Profile = tuple[float, ...]


class ProfileError(ValueError):
    """An acceptance profile or a mix of domains that cannot be."""


def load(path: Path = DEFAULT_PROFILES) -> dict[str, Profile]:
    """Profiles by name; raises ProfileError when the file holds none."""
    try:
        profiles = json.loads(path.read_text())["profiles"]
        return {str(name): checked(tuple(map(float, rates))) for name, rates in profiles.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProfileError(f"{path}: {error}") from error


def checked(profile: Profile) -> Profile:
    """`profile` with zeros up to the last position; raises ProfileError unless it is non-increasing within 0..1."""
    if not 1 <= len(profile) <= POSITIONS:
        raise ProfileError(f"a profile has 1 to {POSITIONS} rates, not {len(profile)}")
    if any(not 0 <= rate <= 1 for rate in profile) or any(b > a for a, b in pairwise(profile)):
        raise ProfileError(f"rates must be non-increasing between 0 and 1: {profile}")
    return profile + (0.0,) * (POSITIONS - len(profile))


def shifted(profile: Profile, logits: float) -> Profile:
    """The profile of a request that is easier (> 0) or harder (< 0) than its domain: every hazard's logit moves."""
    rates, reached, before = [], 1.0, 1.0
    for rate in profile:
        hazard = rate / before if before else 0.0
        if 0 < hazard < 1:
            hazard = 1 / (1 + (1 - hazard) / hazard * math.exp(-logits))
        reached *= hazard
        rates.append(reached)
        before = rate
    return tuple(rates)


@dataclass(slots=True)
class Luck:
    """The draws of one request: element `at & (DRAWS - 1)` of `table` says how many of seven drafts are accepted next.

    An odd stride visits all draws before it repeats one, so every request sees the rates of its profile exactly.
    """

    table: bytes
    at: int
    stride: int


def uniform(seed: int, key: str) -> float:
    """A number in [0, 1) that `seed` and `key` alone decide."""
    return int.from_bytes(_digest(seed, key)[:4]) / 2**32


def _digest(seed: int, key: str) -> bytes:
    return blake2b(f"{seed}/{key}".encode(), digest_size=16).digest()


class Acceptance:
    """Deals luck to requests. mix: domain -> share, for requests that name none. spread: standard deviation, in logits,
    between requests of one domain."""

    def __init__(
        self, profiles: Mapping[str, Profile], mix: Mapping[str, float], *, seed: int = 0, spread: float = 0.0
    ) -> None:
        unknown = sorted(set(mix) - set(profiles))
        if unknown or not mix or sum(mix.values()) <= 0 or min(mix.values()) < 0:
            known = ", ".join(profiles)
            raise ProfileError(f"bad mix {dict(mix)}: shares of these domains are needed: {known}")
        self._profiles = dict(profiles)
        self._mix = dict(mix)
        self._seed = seed
        self._shifts = tuple(quantile * spread for quantile in _QUANTILES) if spread else (0.0,)
        self._order = list(range(DRAWS))
        random.Random(seed).shuffle(self._order)  # noqa: S311  (a simulation, not a secret)
        self._tables: dict[tuple[Profile, float], bytes] = {}
        self._replaced: dict[str, str] = {}

    @property
    def domains(self) -> tuple[str, ...]:
        return tuple(self._profiles)

    def replace(self, replaced: Mapping[str, str]) -> None:
        """From now on requests of each domain behave like another (drift). An empty mapping ends it."""
        self.check_domains(replaced)
        self._replaced = dict(replaced)

    def check_domains(self, replaced: Mapping[str, str]) -> None:
        """Raises ProfileError for a domain that has no profile."""
        unknown = sorted((set(replaced) | set(replaced.values())) - set(self._profiles))
        if unknown:
            raise ProfileError(f"unknown domains {unknown}; known: {', '.join(self._profiles)}")

    def mismatch(self) -> None:
        """From now on every request behaves as with a drafter that was made for another target."""
        self._replaced = dict.fromkeys(self._profiles, MISMATCHED)

    def deal(self, key: str, domain: str | None) -> Luck:
        """Luck for the request known as `key` (its seed, or its number). Unknown domains fall back to the mix."""
        digest = _digest(self._seed, key)
        if domain not in self._profiles:
            domain = self._drawn_domain(int.from_bytes(digest[:4]) / 2**32)
        shift = self._shifts[digest[4] % len(self._shifts)]
        return Luck(self._table(domain, shift), int.from_bytes(digest[5:8]), int.from_bytes(digest[8:11]) | 1)

    def _drawn_domain(self, share: float) -> str:
        share *= sum(self._mix.values())
        for domain, weight in self._mix.items():
            share -= weight
            if share < 0:
                return domain
        return domain

    def _table(self, domain: str, shift: float) -> bytes:
        profile = self._profiles[self._replaced.get(domain, domain)]
        table = self._tables.get((profile, shift))
        if table is None:
            rates = shifted(profile, shift) if shift else profile
            table = self._tables[(profile, shift)] = self._shuffled(rates)
        return table

    def _shuffled(self, rates: Profile) -> bytes:
        """Each count as often as `rates` say, to one in DRAWS; tables of one seed rank alike."""
        at_least = [DRAWS, *(round(rate * DRAWS) for rate in rates), 0]
        ranked = b"".join(
            bytes([accepted]) * (at_least[accepted] - at_least[accepted + 1])
            for accepted in reversed(range(POSITIONS + 1))
        )
        return bytes(map(ranked.__getitem__, self._order))
