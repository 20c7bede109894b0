"""The vLLM container: image, layout over GPUs, limits, cache, and what may not be set because the operator sets it."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field, JsonValue

from specdec.api.names import GPU_RESOURCE
from specdec.api.quantities import Quantity
from specdec.api.rules import Model, Rule, Value
from specdec.api.sources import ObjectName, SecretKey, Text

OWNED_ARGUMENTS: Final = {
    "--model": "spec.model.source",
    "--revision": "spec.model.source.huggingFace.revision",
    "--served-model-name": "spec.model.servedName",
    "--speculative-config": "spec.speculator",
    "--port": "nothing, the port is fixed",
    "--host": "nothing, the address is fixed",
    "--uds": "nothing, the port is fixed",
    "--config": "spec.engine",
    "--api-key": "spec.engine.apiKeySecretRef",
    "--ssl-keyfile": "a gateway in front of the Service",
    "--ssl-certfile": "a gateway in front of the Service",
    "--root-path": "a gateway in front of the Service",
    "--middleware": "a gateway in front of the Service",
    "--tensor-parallel-size": "spec.engine.parallelism.tensor",
    "--data-parallel-size": "spec.engine.parallelism.data",
    "--enable-expert-parallel": "spec.engine.parallelism.expert",
    "--no-enable-expert-parallel": "spec.engine.parallelism.expert",
    "--max-model-len": "spec.engine.maxModelLen",
    "--max-num-seqs": "spec.engine.maxNumSeqs",
    "--max-num-batched-tokens": "spec.engine.maxNumBatchedTokens",
    "--gpu-memory-utilization": "spec.engine.gpuMemoryUtilization",
    "--shutdown-timeout": "spec.engine.drainSeconds",
    "--disable-log-stats": "nothing, the operator needs the metrics",
    "-sc": "spec.speculator",
    "-tp": "spec.engine.parallelism.tensor",
    "-dp": "spec.engine.parallelism.data",
    "-ep": "spec.engine.parallelism.expert",
}
"""Engine arguments that the operator renders itself -> where a user sets them instead."""

OWNED_ENV: Final = {
    "VLLM_PLUGINS": "nothing, the operator needs its own plugins",
    "VLLM_API_KEY": "spec.engine.apiKeySecretRef",
    "VLLM_SERVER_DEV_MODE": "nothing, its endpoints are not safe in production",
    "VLLM_ENGINE_READY_TIMEOUT_S": "spec.engine.startupTimeoutSeconds",
    "HF_TOKEN": "spec.model.source.huggingFace.tokenSecretRef",
    "HF_HOME": "spec.engine.cache",
    "VLLM_CACHE_ROOT": "spec.engine.cache",
    "SPECDEC_CONTROL_TOKEN_FILE": "nothing, the operator makes the token",
}
"""Environment variables of the container that the operator renders itself -> where a user sets them instead."""

REGISTRY_PLACEHOLDER: Final = "REGISTRY/"
"""Begins the image of our examples. No registry is called so: names of hosts are written in lower case."""

_CEL_ARGUMENTS: Final = "{" + ", ".join(f"'{name}': '{use}'" for name, use in OWNED_ARGUMENTS.items()) + "}"
_CEL_NAME: Final = "split('=')[0].split('.')[0].replace('_', '-')"
_CEL_ENV: Final = "{" + ", ".join(f"'{name}': '{use}'" for name, use in OWNED_ENV.items()) + "}"

_SHARE: Final = re.compile(r"0[.][0-9]{1,3}|[1-9][0-9]{0,2}m")


def argument_name(argument: str) -> str:
    """The option that `argument` sets, in vLLM's canonical spelling: `--max_model_len=8` is `--max-model-len`."""
    return re.split(r"[=.]", argument, maxsplit=1)[0].replace("_", "-")


class Parallelism(Model):
    """How one replica is laid over GPUs; it takes tensor x data of them."""

    tensor: Annotated[int, Field(ge=1, le=8)] = 4
    """GPUs that share each layer."""
    data: Annotated[int, Field(ge=1, le=8)] = 1
    """Engines behind one port. Above 1 the engine has no batch-size schedule, so K changes by restart only."""
    expert: bool = True
    """Spread the experts of a mixture-of-experts model over the GPUs instead of slicing each. False for a dense model,
    which vLLM would else refuse."""

    rules = (
        Rule(
            cel="self.tensor * self.data <= 8",
            holds=lambda self: self.gpus <= 8,
            message="one replica would take tensor {self.tensor} x data {self.data} GPUs, but a node has 8; lower one",
        ),
    )

    @property
    def gpus(self) -> int:
        """GPUs of one replica."""
        return self.tensor * self.data


class EmptyDir(Model):
    """Node-local scratch space that goes with the pod."""

    size_limit: Quantity | None = None
    """Upper bound; the pod is evicted above it."""


class AccessMode(StrEnum):
    """How many nodes may mount a claim."""

    READ_WRITE_MANY = "ReadWriteMany"
    READ_WRITE_ONCE = "ReadWriteOnce"


class Cache(Model):
    """Where downloaded weights and compiled graphs are kept.

    With `size` (and optionally `storageClassName`) the operator makes a claim; `existingClaim` uses one of yours;
    `emptyDir`, the default, forgets everything with the pod.
    """

    size: Quantity | None = None
    """Size of the claim that the operator makes, shared by all replicas."""
    storage_class_name: ObjectName | None = None
    """Storage class of that claim; it must offer ReadWriteMany when replicas run on several nodes."""
    access_mode: AccessMode = AccessMode.READ_WRITE_MANY
    """Access mode of that claim."""
    existing_claim: ObjectName | None = None
    """Name of a claim of yours, in the same namespace."""
    empty_dir: EmptyDir | None = None
    """Scratch space on the node."""

    rules = (
        Rule(
            cel="[has(self.size), has(self.existingClaim), has(self.emptyDir)].filter(given, given).size() <= 1",
            holds=lambda self: [self.size, self.existing_claim, self.empty_dir].count(None) >= 2,
            message="spec.engine.cache takes one of size, existingClaim and emptyDir; keep one and remove the others",
        ),
        Rule(
            cel="!has(self.storageClassName) || has(self.size)",
            holds=lambda self: self.storage_class_name is None or self.size is not None,
            message="spec.engine.cache.storageClassName needs a size; set spec.engine.cache.size as well",
            path=".storageClassName",
        ),
    )
    cel_only = (
        Rule(
            cel="!has(self.size) || !has(oldSelf.size) || ((has(self.storageClassName) ? self.storageClassName : '')"
            " == (has(oldSelf.storageClassName) ? oldSelf.storageClassName : '')"
            " && self.accessMode == oldSelf.accessMode)",
            holds=lambda _: True,
            message="the storage class and access mode of a claim cannot change; make a claim of your own and name it "
            "in spec.engine.cache.existingClaim",
        ),
    )

    @property
    def persistent(self) -> bool:
        """Whether the cache outlives a pod."""
        return self.size is not None or self.existing_claim is not None


class EnvVar(Model):
    """One environment variable of the engine's container."""

    name: Annotated[str, Field(min_length=1, max_length=256)]
    """Its name."""
    value: Annotated[str, Field(max_length=4096)] | None = None
    """Its value."""
    value_from: dict[str, JsonValue] | None = None
    """Where its value comes from, as in a pod (`secretKeyRef`, `configMapKeyRef`, `fieldRef`, ...)."""


ResourceList = Annotated[dict[str, Quantity], Field(max_length=16)]


class Resources(Model):
    """Resources of the engine's container. GPUs follow from `parallelism`."""

    requests: ResourceList = {}
    """What the scheduler sets aside."""
    limits: ResourceList = {}
    """What the container may use at most."""

    rules = (
        Rule(
            cel=f"!('{GPU_RESOURCE}' in self.requests) && !('{GPU_RESOURCE}' in self.limits)",
            holds=lambda self: GPU_RESOURCE not in {*self.requests, *self.limits},
            message=f"{GPU_RESOURCE} follows from spec.engine.parallelism; remove it here, set tensor and data there",
        ),
    )


def _owned_arguments(engine: Any) -> list[str]:
    return [argument for argument in engine.args if argument_name(argument) in OWNED_ARGUMENTS]


def _owned_env(engine: Any) -> list[str]:
    return [variable.name for variable in engine.env if variable.name in OWNED_ENV]


class Engine(Model):
    """The vLLM container."""

    image: Text
    """Image with vLLM and the speculation plugin."""
    parallelism: Parallelism = Parallelism()
    """How one replica is laid over GPUs."""
    max_model_len: Annotated[int, Field(ge=1)] | None = None
    """Longest sequence, in tokens. What the model allows if unset."""
    max_num_seqs: Annotated[int, Field(ge=1, le=4096)] = 256
    """Most requests in one engine step."""
    max_num_batched_tokens: Annotated[int, Field(ge=1, le=1048576)] = 8192
    """Most tokens in one engine step."""
    gpu_memory_utilization: Annotated[str, Field(max_length=8)] = "900m"
    """Share of GPU memory that the engine takes, between 0 and 1, such as 900m, or "0.9" in quotes."""
    args: Annotated[tuple[Annotated[str, Field(max_length=1024)], ...], Field(max_length=64)] = ()
    """Further arguments of `vllm serve`. May not set what the operator sets."""
    env: Annotated[
        tuple[EnvVar, ...], Field(max_length=64, json_schema_extra={"x-kubernetes-list-map-keys": ["name"]})
    ] = ()
    """Further environment variables. May not set what the operator sets."""
    api_key_secret_ref: SecretKey | None = None
    """The key that clients must present."""
    cache: Cache = Cache()
    """Where downloaded weights and compiled graphs are kept."""
    startup_timeout_seconds: Annotated[int, Field(ge=10, le=86400)] = 2400
    """How long an engine may load before it is restarted."""
    drain_seconds: Annotated[int, Field(ge=0, le=86400)] = 120
    """How long a stopping engine may finish what it has begun."""
    resources: Resources = Resources()
    """CPU and memory of the container."""
    shm_size: Quantity = "16Gi"
    """Size of /dev/shm, which tensor-parallel workers share."""

    rules = (
        Rule(
            cel=f"self.args.all(a, !(a.{_CEL_NAME} in {_CEL_ARGUMENTS}))",
            holds=lambda self: not _owned_arguments(self),
            message="spec.engine.args sets {argument}, which the operator sets; remove it and use {instead}",
            path=".args",
            values={
                "argument": Value(
                    f"self.args.filter(a, a.{_CEL_NAME} in {_CEL_ARGUMENTS})[0].{_CEL_NAME}",
                    lambda self: argument_name(_owned_arguments(self)[0]),
                ),
                "instead": Value(
                    f"{_CEL_ARGUMENTS}[self.args.filter(a, a.{_CEL_NAME} in {_CEL_ARGUMENTS})[0].{_CEL_NAME}]",
                    lambda self: OWNED_ARGUMENTS[argument_name(_owned_arguments(self)[0])],
                ),
            },
        ),
        Rule(
            cel=f"self.env.all(v, !(v.name in {_CEL_ENV}))",
            holds=lambda self: not _owned_env(self),
            message="spec.engine.env sets {variable}, which the operator sets; remove it and use {instead}",
            path=".env",
            values={
                "variable": Value(
                    f"self.env.filter(v, v.name in {_CEL_ENV})[0].name", lambda self: _owned_env(self)[0]
                ),
                "instead": Value(
                    f"{_CEL_ENV}[self.env.filter(v, v.name in {_CEL_ENV})[0].name]",
                    lambda self: OWNED_ENV[_owned_env(self)[0]],
                ),
            },
        ),
        Rule(
            cel=f"!self.image.startsWith('{REGISTRY_PLACEHOLDER}')",
            holds=lambda self: not self.image.startswith(REGISTRY_PLACEHOLDER),
            message="spec.engine.image still begins with REGISTRY, the placeholder of the examples; put the registry "
            "there that you pushed the engine's image to (docs/quickstart.md shows how it is built)",
            path=".image",
        ),
        Rule(
            cel=f"self.gpuMemoryUtilization.matches('^(?:{_SHARE.pattern})$')",
            holds=lambda self: _SHARE.fullmatch(self.gpu_memory_utilization) is not None,
            message='spec.engine.gpuMemoryUtilization must lie between 0 and 1; write it as 900m or "0.9" in quotes',
            path=".gpuMemoryUtilization",
        ),
    )
