"""What is accepted where its record was lost: what the live Deployment runs with, so that no pod restarts. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable

from specdec.api import names
from specdec.api.decision import AcceptedDecision, Rendered
from specdec.api.manifest import Json
from specdec.api.names import Role
from specdec.api.resource import SpeculativeDeployment
from specdec.api.schedule import Schedule, Tier
from specdec.api.tuning import SwitchingPolicy
from specdec.controllers.accepting import way
from specdec.controllers.checkpoint import Checkpoint
from specdec.desired import every_k


def recovered(resource: SpeculativeDeployment, children: Iterable[Json]) -> Checkpoint:
    """A checkpoint of what stands, an empty one where nothing does. What was learned is lost.

    A start value other than the spec's is kept as one that was tuned by restart, unless K may only change live: then it
    was asked for in an edit that nobody has followed yet.
    """
    name = names.deployment(resource.name, Role.STABLE)
    live = next((c for c in children if (c["kind"], c["metadata"]["name"]) == ("Deployment", name)), None)
    inputs = _inputs(live) if live is not None else None
    if live is None or inputs is None:
        return Checkpoint()
    (start_k, schedule), asked = _start(inputs), resource.spec.speculator.num_speculative_tokens
    edited = start_k != asked and resource.spec.tuning.switching is SwitchingPolicy.LIVE
    by_restart = not edited and (schedule is not None or start_k != asked)
    accepted = AcceptedDecision(
        revision=1,
        switching="Restart" if by_restart else way(resource),
        start_k=start_k,
        schedule=schedule,
        rendered=Rendered(live["spec"]["template"], inputs),
    )
    return Checkpoint(accepted=accepted, asked_start_k=start_k if edited else asked)


def _inputs(deployment: Json) -> Json | None:
    """What the live template was rendered from, None where the note of it is gone or unreadable."""
    try:
        noted: Json = json.loads(deployment["metadata"]["annotations"][names.ANNOTATION_INPUTS])
        _start(noted)
    except (KeyError, TypeError, ValueError):
        return None
    return noted


def _start(inputs: Json) -> tuple[int, Schedule | None]:
    """Start value, and the start-up schedule that was decided: None where it only names every K for the graphs."""
    start_k, tiers = int(inputs["start"]["k"]), inputs["start"].get("schedule")
    if tiers is None:
        return start_k, None
    schedule = Schedule(tuple(Tier(*map(int, tier)) for tier in tiers))
    return start_k, None if schedule == every_k(start_k, int(inputs["limits"]["maxNumSeqs"])) else schedule
