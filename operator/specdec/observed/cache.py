"""Whether a new pod finds the weights in a cache that outlives pods."""

from __future__ import annotations

from specdec.api.conditions import Condition, Reason, Truth
from specdec.api.report import Finding
from specdec.api.resource import SpeculativeDeployment
from specdec.api.status import Status
from specdec.observed.snapshot import Snapshot


def model_cached(resource: SpeculativeDeployment, seen: Snapshot, before: Status) -> Finding:
    """What is to be said under ModelCached.

    A pod that serves has filled the cache; the status remembers it.
    """
    spec = resource.spec
    sources = [source for source in (spec.model.source, spec.speculator.source) if source]
    if not any(source.hugging_face for source in sources):
        return Finding(Truth.TRUE, Reason.MODEL_ON_VOLUME, "the weights are read from a volume, nothing is downloaded")
    if not spec.engine.cache.persistent:
        return Finding(
            Truth.FALSE,
            Reason.CACHE_IS_EPHEMERAL,
            "each new pod downloads the weights again; set spec.engine.cache.size or existingClaim to keep them",
        )
    known = before.condition(Condition.MODEL_CACHED)
    if any(pod.ready for pod in seen.engines()) or (known and known.reason == Reason.CACHE_FILLED):
        return Finding(Truth.TRUE, Reason.CACHE_FILLED, "the weights are in the cache volume")
    return Finding(
        Truth.UNKNOWN, Reason.CACHE_FILLING, "the first pod is downloading the weights into the cache volume"
    )
