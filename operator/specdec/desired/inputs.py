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
    return _facts(resource, start, defaults_too=True)


def restart_reason(rendered_from: Json, resource: SpeculativeDeployment, start: Start) -> RestartReason | None:
    """Why a template that was `rendered_from` older inputs must be rendered anew, or None."""
    now, chosen = inputs(resource, start), _facts(resource, start, defaults_too=False)
    changed = (fact for fact in FACTS if not _same_fact(rendered_from, now, chosen, fact))
    return next((RestartReason(*FACTS[fact]) for fact in changed), None)


def _same_fact(before: Json, now: Json, chosen: Json, fact: str) -> bool:
    return _same(before[fact], now[fact], chosen[fact]) if fact in before else not chosen[fact]


def _same(before: Any, now: Any, chosen: Any) -> bool:
    """Whether a value is as it was.

    chosen: `now` without what is default. A field that the older version did not know is as it was, as long as nobody
    chose a value for it; so a version that adds fields restarts nothing.
    """
    if isinstance(before, dict) and isinstance(now, dict):
        known = all(key in now and _same(before[key], now[key], chosen.get(key, {})) for key in before)
        return known and not any(key in chosen for key in now.keys() - before.keys())
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now) == len(chosen):
        return all(map(_same, before, now, chosen))
    return bool(before == now)


def _facts(resource: SpeculativeDeployment, start: Start, *, defaults_too: bool) -> Json:
    spec, engine = resource.spec, resource.spec.engine

    def dump(model: Model, *fields: str) -> Json:
        included = set(fields) if fields else None
        return model.model_dump(
            mode="json", by_alias=True, include=included, exclude_none=True, exclude_defaults=not defaults_too
        )

    return {
        "restart": resource.metadata.annotations.get(names.ANNOTATION_RESTART),
        "image": engine.image,
        "model": {"servedName": resource.served_name, **dump(spec.model, "source")},
        "speculator": dump(spec.speculator, "method", "source"),
        "start": {"k": start.k, **_schedule(start)},
        "layout": dump(engine.parallelism),
        "limits": dump(engine, *_LIMITS),
        "arguments": list(engine.args),
        "environment": dump(engine, "env", "api_key_secret_ref"),
        "cache": dump(engine.cache, "existing_claim", "empty_dir") | ({"claim": True} if engine.cache.size else {}),
        "timing": dump(engine, "startup_timeout_seconds", "drain_seconds"),
        "resources": dump(engine.resources),
        "placement": dump(spec.placement),
        "overlay": dict(spec.pod_template),
    }


def _schedule(start: Start) -> Json:
    if start.schedule is None:
        return {}
    return {"schedule": [[t.from_batch, t.to_batch, t.num_speculative_tokens] for t in start.schedule.tiers]}
