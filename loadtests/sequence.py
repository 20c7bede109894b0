"""From a plan to the very requests: what is sent, when and by whom. Equal for equal plans, whatever the target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from random import Random

from loadtests.plan import Phase, Plan, PlanError
from loadtests.shapes import arrivals, rate_of
from loadtests.trace import read_trace


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """key: equal across targets, it pairs twins. at_seconds: since the start; None: as soon as the user is free."""

    key: str
    at_seconds: float | None
    phase: int
    scenario: str
    domain: str
    prompt_tokens: int
    output_tokens: int
    seed: int


def open_loop(plan: Plan) -> tuple[PlannedRequest, ...]:
    """All requests that arrive by the clock, in order. Raises PlanError for a trace that cannot be replayed."""
    return tuple(
        request
        for index, (start, phase) in enumerate(zip(plan.starts(), plan.phases, strict=True))
        for request in _phase_arrivals(plan, index, start, phase)
    )


def closed_loop(plan: Plan, user: int, phase: int, mix: Mapping[str, float] | None = None) -> Iterator[PlannedRequest]:
    """What user number `user` (from 0) asks in a phase, without end. mix: instead of the phase's."""
    chance = Random(f"{plan.seed}/{phase}/user/{user}")
    for number in count():
        yield _draw(plan, phase, f"{phase}-u{user}-{number}", None, chance=chance, mix=mix)


def _phase_arrivals(plan: Plan, index: int, start: float, phase: Phase) -> Iterator[PlannedRequest]:
    if phase.load.replay is not None:
        yield from _replayed(plan, index, start, phase)
        return
    rate = rate_of(phase.load, phase.seconds)
    if rate is None:
        return
    clock, chance = Random(f"{plan.seed}/{index}/arrivals"), Random(f"{plan.seed}/{index}/requests")
    for number, at in enumerate(arrivals(rate, phase.seconds, phase.load.variation, clock)):
        yield _draw(plan, index, f"{index}-{number}", start + at, chance=chance)


def _draw(
    plan: Plan, phase: int, key: str, at: float | None, *, chance: Random, mix: Mapping[str, float] | None = None
) -> PlannedRequest:
    mix = mix or plan.phases[phase].mix
    name = chance.choices(list(mix), weights=list(mix.values()))[0]
    scenario = plan.scenario(name)
    return PlannedRequest(
        key=key,
        at_seconds=at,
        phase=phase,
        scenario=name,
        domain=scenario.domain,
        prompt_tokens=scenario.prompt.draw(chance),
        output_tokens=scenario.output.draw(chance),
        seed=chance.getrandbits(31),
    )


def _replayed(plan: Plan, index: int, start: float, phase: Phase) -> Iterator[PlannedRequest]:
    replay = phase.load.replay
    assert replay is not None
    chance = Random(f"{plan.seed}/{index}/requests")
    for number, line in enumerate(read_trace(replay.file)):
        at = line.arrival_seconds / replay.speed
        if at >= phase.seconds:
            return
        if not plan.knows(line.domain):
            raise PlanError(
                f"{replay.file}, request {number + 1}: domain {line.domain!r} is no scenario of the plan; add it under "
                f"'scenarios', or name one of {', '.join(plan.known)}"
            )
        yield PlannedRequest(
            key=f"{index}-{number}",
            at_seconds=start + at,
            phase=index,
            scenario=line.domain,
            domain=line.domain,
            prompt_tokens=line.prompt_tokens,
            output_tokens=line.output_tokens,
            seed=chance.getrandbits(31),
        )
