"""SpeculativeDeployments for tests: the simulator in place of vLLM, one GPU, quick scrapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from specdec.api import names

IMAGE: Final = "specdec/simulator:dev"
ENVIRONMENT: Final = {"SPECDEC_SIM_SEED": "1", "SPECDEC_SIM_FAULTS": "1", "SPECDEC_SIM_START_SECONDS": "1"}

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


def tuning(mode: str = "Auto", **more: Any) -> dict[str, Any]:
    """A tuner that decides on little, so that tests end."""
    return {"mode": mode, "minDrafts": 200, **more}
