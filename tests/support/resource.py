"""Builders of resources for tests: name only what matters."""

from __future__ import annotations

from typing import Any

from specdec.api import names
from specdec.api.resource import SpeculativeDeployment, parse

Json = dict[str, Any]


def stored(name: str = "demo", **spec: Any) -> Json:
    """A small valid resource as the API server stores one, with `spec` laid over it (structs merge)."""
    least = {
        "model": {"source": {"huggingFace": {"repo": "deepseek-ai/DeepSeek-V4-Flash"}}},
        "speculator": {"source": {"huggingFace": {"repo": "RedHatAI/DeepSeek-V4-Flash-speculator.dflash"}}},
        "engine": {"image": "specdec/vllm:dev"},
    }
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": name, "namespace": "default", "uid": "0f9a-uid", "generation": 1},
        "spec": laid(least, spec),
    }


def resource(name: str = "demo", annotations: dict[str, str] | None = None, **spec: Any) -> SpeculativeDeployment:
    """The same, parsed."""
    body = stored(name, **spec)
    body["metadata"]["annotations"] = annotations or {}
    parsed = parse(body)
    assert isinstance(parsed, SpeculativeDeployment), parsed
    return parsed


def laid(under: Any, over: Any) -> Any:
    """`over` upon `under`; `...` removes a field."""
    if not isinstance(over, dict):
        return over
    base = under if isinstance(under, dict) else {}
    changed = {key: laid(base.get(key), value) for key, value in over.items() if value is not ...}
    return {key: value for key, value in base.items() if key not in over} | changed
