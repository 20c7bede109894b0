"""Lets real engines accept what each phase's text would have accepted: small random models know no text.

The simulator reads the domain off each request; the rig of the CPU image takes one profile for all, so it gets the mean
of a phase's mix when the phase begins. Nobody tells the operator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import httpx

from loadtests.plan import Phase, Plan

RATES_PATH: Final = "/rig/acceptance"
ANSWER_SECONDS: Final = 5.0


def rates(plan: Plan, phase: Phase, profiles: Mapping[str, Sequence[float]]) -> list[float]:
    """Acceptance by position of `phase`: its domains' profiles, weighed by the tokens that each domain generates."""
    tokens = {name: weight * plan.scenario(name).output.median for name, weight in phase.mix.items()}
    shares = [(share / sum(tokens.values()), plan.scenario(name).domain) for name, share in tokens.items()]
    positions = range(min(map(len, profiles.values())))
    return [sum(share * profiles[domain][position] for share, domain in shares) for position in positions]


@dataclass(slots=True)
class Text:
    """`follow(t)` tells the engines at `urls` what to accept in the phase that is `t` seconds into the run."""

    plan: Plan
    profiles: Mapping[str, Sequence[float]]
    urls: Sequence[str]
    _told: dict[str, int] = field(default_factory=dict)

    def follow(self, t: float) -> None:
        """An engine that does not answer is told at the next call."""
        index = self.plan.phase_at(t)
        for url in self.urls if index is not None else ():
            if self._told.get(url) != index:
                assert index is not None
                self._tell(url, index)

    def _tell(self, url: str, index: int) -> None:
        body = {"rates": rates(self.plan, self.plan.phases[index], self.profiles)}
        try:
            httpx.put(url + RATES_PATH, json=body, timeout=ANSWER_SECONDS).raise_for_status()
        except httpx.HTTPError:
            return
        self._told[url] = index
