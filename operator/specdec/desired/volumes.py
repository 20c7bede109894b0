"""Volumes: caches, shared memory, the control token, weights that are not downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from specdec.api import names
from specdec.api.manifest import Json
from specdec.api.resource import SpeculativeDeployment
from specdec.api.sources import Source


@dataclass(frozen=True, slots=True)
class Mounted:
    """A volume of the pod and where the container sees it."""

    name: str
    source: Json
    path: str
    read_only: bool = False

    @property
    def volume(self) -> Json:
        return {"name": self.name, **self.source}

    @property
    def mount(self) -> Json:
        mount = {"name": self.name, "mountPath": self.path}
        return mount | ({"readOnly": True} if self.read_only else {})


def volumes(resource: SpeculativeDeployment) -> tuple[Mounted, ...]:
    """All volumes of an engine pod."""
    engine, spec = resource.spec.engine, resource.spec
    control = {"secret": {"secretName": names.control_secret(resource.name), "defaultMode": 0o440}}
    return (
        Mounted("cache", _cache(resource), names.CACHE_DIR),
        Mounted("shm", {"emptyDir": {"medium": "Memory", "sizeLimit": engine.shm_size}}, "/dev/shm"),  # noqa: S108
        Mounted("tmp", {"emptyDir": {}}, "/tmp"),  # noqa: S108
        Mounted("control", control, names.CONTROL_TOKEN_DIR, read_only=True),
        *_weights("target", spec.model.source, names.TARGET_DIR),
        *_weights("speculator", spec.speculator.source, names.SPECULATOR_DIR),
    )


def _cache(resource: SpeculativeDeployment) -> Json:
    cache = resource.spec.engine.cache
    if cache.persistent:
        claim = cache.existing_claim or names.cache_claim(resource.name)
        return {"persistentVolumeClaim": {"claimName": claim}}
    limit = cache.empty_dir.size_limit if cache.empty_dir else None
    return {"emptyDir": {"sizeLimit": limit} if limit else {}}


def _weights(name: str, source: Source | None, path: str) -> Iterator[Mounted]:
    if source and source.pvc:
        claim = {"claimName": source.pvc.claim_name, "readOnly": True}
        yield Mounted(name, {"persistentVolumeClaim": claim}, path, read_only=True)
    if source and source.image:
        image = {"reference": source.image.reference, "pullPolicy": "IfNotPresent"}
        yield Mounted(name, {"image": image}, path, read_only=True)
