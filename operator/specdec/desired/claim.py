"""The PersistentVolumeClaim for weights and compiled graphs."""

from __future__ import annotations

from specdec.api import names
from specdec.api.manifest import Manifest
from specdec.api.resource import SpeculativeDeployment
from specdec.desired.metadata import child


def cache_claim(resource: SpeculativeDeployment) -> Manifest | None:
    """The claim, where `spec.engine.cache.size` asks for one."""
    cache = resource.spec.engine.cache
    if cache.size is None:
        return None
    content = {"accessModes": [cache.access_mode.value], "resources": {"requests": {"storage": cache.size}}}
    content |= {"storageClassName": cache.storage_class_name} if cache.storage_class_name else {}
    return child(resource, ("v1", "PersistentVolumeClaim"), names.cache_claim(resource.name), {"spec": content})
