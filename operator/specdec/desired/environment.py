"""The engine's environment."""

from __future__ import annotations

from collections.abc import Iterator

from specdec.api import names
from specdec.api.manifest import Json
from specdec.api.resource import SpeculativeDeployment
from specdec.api.sources import SecretKey


def environment(resource: SpeculativeDeployment) -> list[Json]:
    """Environment variables of the container; the user's stand last."""
    engine = resource.spec.engine
    own = [{"name": name, "value": value} for name, value in _plain(resource).items()]
    users = [variable.model_dump(by_alias=True, exclude_none=True) for variable in engine.env]
    return [*own, *_from_secrets(resource), *users]


def _plain(resource: SpeculativeDeployment) -> dict[str, str]:
    engine = resource.spec.engine
    taken = {variable.name for variable in engine.env}
    variables = {
        "VLLM_PLUGINS": ",".join(names.ENGINE_PLUGINS),
        names.ENV_CONTROL_TOKEN_FILE: names.CONTROL_TOKEN_FILE,
        "VLLM_ENGINE_READY_TIMEOUT_S": str(engine.startup_timeout_seconds),
        # A step may meet kernels that are compiled only now, some seconds each; vLLM's 300 s would end the engine.
        "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS": "900",
        "HF_HOME": f"{names.CACHE_DIR}/huggingface",
        "VLLM_CACHE_ROOT": f"{names.CACHE_DIR}/vllm",
        # These two would lie below /tmp, which ends with the pod.
        "TORCHINDUCTOR_CACHE_DIR": f"{names.CACHE_DIR}/inductor",
        "CUTE_DSL_CACHE_DIR": f"{names.CACHE_DIR}/cute",
        # whatever compiles kernels at run time (Triton, FlashInfer, tilelang, CUDA itself) keeps them below the home
        "HOME": names.CACHE_DIR,
        # asked for by programs that find no entry of their user in /etc/passwd
        "USER": "engine",
    }
    return {name: value for name, value in variables.items() if name not in taken}


def _from_secrets(resource: SpeculativeDeployment) -> Iterator[Json]:
    for token in resource.spec.hub_tokens[:1]:
        yield _secret("HF_TOKEN", token)
    if resource.spec.engine.api_key_secret_ref:
        yield _secret("VLLM_API_KEY", resource.spec.engine.api_key_secret_ref)


def _secret(name: str, key: SecretKey) -> Json:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": key.name, "key": key.key}}}
