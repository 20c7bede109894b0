"""SpeculativeDeployments for tests: the simulator in place of vLLM, or vLLM on the CPU; one GPU, quick scrapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from specdec.api import names

IMAGE: Final = "specdec/simulator:dev"
ENVIRONMENT: Final = {"SPECDEC_SIM_SEED": "1", "SPECDEC_SIM_FAULTS": "1", "SPECDEC_SIM_START_SECONDS": "1"}

VLLM_IMAGE: Final = "specdec/vllm:dev-cpu"
# The image holds the test rig, but the operator starts no plugin other than ours: the pod template has to name them.
RIG_PLUGINS: Final = "specdec_engine,specdec_http,rig_fast_start,rig_acceptance,rig_http"
MAX_MODEL_LEN: Final = 2048

Resource = dict[str, Any]


def simulated(name: str, *, env: Mapping[str, str] | None = None, **spec: Any) -> Resource:
    """A resource; keywords replace top-level parts of its spec, `env` adds knobs of the simulator."""
    variables = {**ENVIRONMENT, **(env or {})}
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "model": {
                "servedName": "deepseek-v4-flash",
                "source": {"huggingFace": {"repo": "deepseek-ai/DeepSeek-V4-Flash"}},
            },
            "speculator": {"source": {"huggingFace": {"repo": "RedHatAI/DeepSeek-V4-Flash-speculator.dflash"}}},
            "engine": engine(variables),
            "tuning": tuning(),
            "monitoring": {"scrapeIntervalSeconds": 2},
            **spec,
        },
    }


def engine(env: Mapping[str, str] = ENVIRONMENT, tensor: int = 1) -> dict[str, Any]:
    return {
        "image": IMAGE,
        "parallelism": {"tensor": tensor},
        "maxNumSeqs": 64,
        "drainSeconds": 10,
        "shmSize": "64Mi",
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
        "env": [{"name": key, "value": value} for key, value in env.items()],
    }


def on_cpu(
    name: str, rates: Sequence[float], served_name: str, max_num_seqs: int = 32, dtype: str = "bfloat16", **spec: Any
) -> Resource:
    """A resource on real vLLM: the 70 M pair of the CPU image, position p of each draft accepted at `rates[p]`."""
    plugins = [{"name": "VLLM_PLUGINS", "value": RIG_PLUGINS}]
    resource = simulated(name, **spec)
    resource["spec"] |= {
        "model": {"servedName": served_name, "source": {"huggingFace": {"repo": "test/medium"}}},
        "speculator": {"source": {"huggingFace": {"repo": "test/medium.dflash"}}},
        "engine": {
            "image": VLLM_IMAGE,
            "parallelism": {"tensor": 1, "expert": False},
            "maxModelLen": MAX_MODEL_LEN,
            "maxNumSeqs": max_num_seqs,
            "maxNumBatchedTokens": MAX_MODEL_LEN,
            "startupTimeoutSeconds": 480,
            "drainSeconds": 90,
            "shmSize": "64Mi",
            "args": ["--enforce-eager", "--dtype", dtype, "--kv-cache-memory-bytes", "67108864"],
            "env": [{"name": "SPECDEC_RIG_ACCEPTANCE", "value": ",".join(map(str, rates))}],
            "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}},
        },
        "podTemplate": {"spec": {"containers": [{"name": names.CONTAINER, "env": plugins}]}},
    }
    return resource


def tuning(mode: str = "Auto", **more: Any) -> dict[str, Any]:
    """A tuner that decides on little, so that tests end."""
    return {"mode": mode, "minDrafts": 200, **more}
