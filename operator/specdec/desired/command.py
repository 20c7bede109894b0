"""The engine's command line: the model card's, and what the pair needs on its GPUs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, Final

from specdec.api import names
from specdec.api.engine import argument_name
from specdec.api.quantities import parse_quantity
from specdec.api.resource import SpeculativeDeployment
from specdec.api.sources import Source
from specdec.api.spec import Spec
from specdec.api.speculator import Method
from specdec.desired.start import Start

# vLLM's recipe for DeepSeek-V4.
DEEPSEEK_V4: Final = (
    ("--trust-remote-code",),
    ("--kv-cache-dtype", "fp8"),
    ("--block-size", "256"),
    ("--tokenizer-mode", "deepseek_v4"),
    ("--tool-call-parser", "deepseek_v4"),
    ("--enable-auto-tool-choice",),
    ("--reasoning-parser", "deepseek_v4"),
)
# Autotuning at tensor parallel 8 takes longer than it brings.
TENSOR_PARALLEL_8: Final = (("--no-enable-flashinfer-autotune",),)

Option = tuple[str, ...]


def command(resource: SpeculativeDeployment, start: Start) -> list[str]:
    """`vllm serve MODEL ...` word by word; the user's own arguments stand last."""
    spec = resource.spec
    chosen = {argument_name(argument) for argument in spec.engine.args}
    options = [*_owned(resource, start), *(option for option in _suggested(spec, start) if option[0] not in chosen)]
    words = [word for option in options for word in option]
    return ["vllm", "serve", _location(spec.model.source, names.TARGET_DIR), *words, *spec.engine.args]


def is_deepseek_v4(spec: Spec) -> bool:
    """Whether the target is of the DeepSeek-V4 family, as its repository, volume or image is called."""
    return "deepseek-v4" in spec.model.source.text.lower().replace("_", "-")


def speculative_config(spec: Spec, start: Start) -> dict[str, Any]:
    """The value of --speculative-config."""
    source, config = spec.speculator.source, dict[str, Any]()
    if source:
        config["model"] = _location(source, names.SPECULATOR_DIR)
    config |= {"num_speculative_tokens": start.k, "method": spec.speculator.method.value}
    if source and source.hugging_face and source.hugging_face.revision:
        config["revision"] = source.hugging_face.revision
    if start.schedule:
        tiers = start.schedule.tiers
        config["num_speculative_tokens_per_batch_size"] = [
            [tier.from_batch, tier.to_batch, tier.num_speculative_tokens] for tier in tiers
        ]
    if is_deepseek_v4(spec) and spec.speculator.method is Method.DFLASH:
        # the target's fp8_ds_mla cache type would be handed to the drafter, whose attention refuses it
        config["kv_cache_dtype"] = "bfloat16"
    return config


def _owned(resource: SpeculativeDeployment, start: Start) -> Iterator[Option]:
    spec, engine = resource.spec, resource.spec.engine
    if start.k > 0:
        yield "--speculative-config", json.dumps(speculative_config(spec, start))
    if spec.model.source.hugging_face and spec.model.source.hugging_face.revision:
        yield "--revision", spec.model.source.hugging_face.revision
    yield "--served-model-name", resource.served_name
    yield "--port", str(names.HTTP_PORT)
    yield from _layout(spec)
    if engine.max_model_len:
        yield "--max-model-len", str(engine.max_model_len)
    yield "--max-num-seqs", str(engine.max_num_seqs)
    yield "--max-num-batched-tokens", str(engine.max_num_batched_tokens)
    yield "--gpu-memory-utilization", str(parse_quantity(engine.gpu_memory_utilization).normalize())
    yield "--shutdown-timeout", str(engine.drain_seconds)


def _layout(spec: Spec) -> Iterator[Option]:
    layout = spec.engine.parallelism
    yield "--tensor-parallel-size", str(layout.tensor)
    if layout.data > 1:
        yield "--data-parallel-size", str(layout.data)
    if layout.expert:
        yield ("--enable-expert-parallel",)


def _suggested(spec: Spec, start: Start) -> Iterator[Option]:
    """Options that a user's own arguments may replace."""
    if is_deepseek_v4(spec):
        yield from DEEPSEEK_V4
        yield from TENSOR_PARALLEL_8 if spec.engine.parallelism.tensor == 8 else ()
    # beyond the largest captured size a step takes several times as long
    yield "--max-cudagraph-capture-size", str(_largest_graph(spec, start))


def _largest_graph(spec: Spec, start: Start) -> int:
    """Tokens of the largest step, rounded up to the grid to which vLLM would cut it, up to what a step may take."""
    needed = (start.k + 1) * spec.engine.max_num_seqs
    stride = 8 if needed <= 256 else 16
    return min(math.ceil(needed / stride) * stride, spec.engine.max_num_batched_tokens)


def _location(source: Source, mounted_at: str) -> str:
    if source.hugging_face:
        return source.hugging_face.repo
    mounted = source.pvc or source.image
    return f"{mounted_at}/{mounted.path}" if mounted and mounted.path else mounted_at
