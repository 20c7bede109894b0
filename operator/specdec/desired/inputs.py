"""What a pod template is rendered from, and why a new one must be rendered.

A template is kept as it was rendered until one of the facts here changes, so a new version of the operator, which may
render otherwise, restarts nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from specdec.api import names
from specdec.api.resource import SpeculativeDeployment
from specdec.api.rules import Model
from specdec.desired.start import Start

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RestartReason:
    """Why pods must be replaced. reason: CamelCase; message: a sentence."""

    reason: str
    message: str


# Fact -> (reason, what is said). The first fact that changed is the one that users read about.
FACTS: Final = {
    "restart": ("RestartRequested", f"the annotation {names.ANNOTATION_RESTART} asks for it"),
    "image": ("ImageChanged", "spec.engine.image changed"),
    "model": ("ModelChanged", "spec.model changed"),
    "speculator": ("SpeculatorChanged", "spec.speculator changed"),
    "start": ("StartValueChanged", "the engine's start value or start-up schedule changed"),
    "layout": ("ParallelismChanged", "spec.engine.parallelism changed"),
    "limits": ("EngineLimitsChanged", "the engine's limits changed (sequences, tokens, memory, shared memory)"),
    "arguments": ("ArgumentsChanged", "spec.engine.args changed"),
    "environment": ("EnvironmentChanged", "spec.engine.env or apiKeySecretRef changed"),
    "cache": ("CacheVolumeChanged", "spec.engine.cache now names another volume"),
    "timing": ("TimingChanged", "spec.engine.startupTimeoutSeconds or drainSeconds changed"),
    "resources": ("ResourcesChanged", "spec.engine.resources changed"),
    "placement": ("PlacementChanged", "spec.placement changed"),
    "overlay": ("PodTemplateChanged", "spec.podTemplate changed"),
}
_LIMITS: Final = ("max_model_len", "max_num_seqs", "max_num_batched_tokens", "gpu_memory_utilization", "shm_size")


def inputs(resource: SpeculativeDeployment, start: Start) -> Json:
    """Every fact, as JSON data."""
    return _facts(resource, start, unset_too=True)


def restart_reason(rendered_from: Json, resource: SpeculativeDeployment, start: Start) -> RestartReason | None:
    """Why a template that was `rendered_from` older inputs must be rendered anew, or None."""
    now, chosen = inputs(resource, start), _facts(resource, start, unset_too=False)
    changed = (fact for fact in FACTS if not _same(rendered_from, now, chosen, fact))
    return next((RestartReason(*FACTS[fact]) for fact in changed), None)


def _same(before: Json, now: Json, chosen: Json, key: str) -> bool:
    """Whether `key` is as it was. One that an older version did not know is, as long as nobody chose a value for it."""
    if key not in before:
        return not chosen.get(key)
    old, new = before[key], now.get(key)
    if isinstance(old, dict) and isinstance(new, dict):
        inner = chosen.get(key) or {}
        return all(_same(old, new, inner, part) for part in {*old, *new})
    return bool(old == new)


def _facts(resource: SpeculativeDeployment, start: Start, *, unset_too: bool) -> Json:
    spec, engine = resource.spec, resource.spec.engine

    def dump(model: Model, **selection: Any) -> Json:
        return model.model_dump(mode="json", by_alias=True, exclude_defaults=not unset_too, **selection)

    return {
        "restart": resource.metadata.annotations.get(names.ANNOTATION_RESTART),
        "image": engine.image,
        "model": {"servedName": resource.served_name, **dump(spec.model, include={"source"})},
        "speculator": dump(spec.speculator, include={"method", "source"}),
        "start": {"k": start.k, "schedule": start.schedule and [list(_row(tier)) for tier in start.schedule.tiers]},
        "layout": dump(engine.parallelism),
        "limits": dump(engine, include=set(_LIMITS)),
        "arguments": list(engine.args),
        "environment": dump(engine, include={"env", "api_key_secret_ref"}),
        "cache": dump(engine.cache, include={"existing_claim", "empty_dir"}) | {"claim": engine.cache.size is not None},
        "timing": dump(engine, include={"startup_timeout_seconds", "drain_seconds"}),
        "resources": dump(engine.resources),
        "placement": dump(spec.placement),
        "overlay": dict(spec.pod_template),
    }


def _row(tier: Any) -> tuple[int, int, int]:
    return tier.from_batch, tier.to_batch, tier.num_speculative_tokens
