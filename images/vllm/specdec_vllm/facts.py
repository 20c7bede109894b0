"""Read out of vLLM's configuration what `preflight` judges and what the live endpoint tells."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from specdec_vllm.preflight import Facts, Model
from specdec_vllm.streams import drafter_streams

FUSION_LAYER: Final = "fc.weight"
# Of vLLM's first model runner; its second one takes a schedule with every method.
SCHEDULED_METHODS: Final = frozenset({"ngram", "eagle", "eagle3", "mtp", "draft_model", "dflash"})
MAX_HEADER_BYTES: Final = 100 * 1024 * 1024


def facts(vllm_config: Any, patched: Callable[[], bool]) -> Facts | None:
    """None for an engine without speculation. patched: asked only where the patches matter."""
    speculative = vllm_config.speculative_config
    if speculative is None:
        return None
    target, draft = vllm_config.model_config, speculative.draft_model_config
    drafter = Model(draft.model, draft.revision) if draft is not None and draft.model != target.model else None
    raw = drafter_configuration(drafter) if drafter else {}
    streams = drafter_streams(vllm_config)
    parallel, scheduler = vllm_config.parallel_config, vllm_config.scheduler_config
    return Facts(
        method=speculative.method,
        k=speculative.num_speculative_tokens,
        target=Model(target.model, target.revision),
        drafter=drafter,
        block_size=raw.get("block_size"),
        target_hidden_size=target.get_hidden_size(),
        streams=streams,
        aux_layers=aux_layers(raw),
        fusion_width=fusion_width(drafter) if drafter else None,
        patched=streams == 1 or patched(),
        pipeline_parallel=parallel.pipeline_parallel_size,
        data_parallel=parallel.data_parallel_size,
        max_num_seqs=scheduler.max_num_seqs,
        max_num_batched_tokens=scheduler.max_num_batched_tokens,
        capture_tokens=capture_tokens(vllm_config),
        start_schedule=bool(speculative.num_speculative_tokens_per_batch_size),
        schedule_dropped=not vllm_config.use_v2_model_runner and speculative.method not in SCHEDULED_METHODS,
        adaptive_verification=bool(getattr(speculative, "enable_adaptive_verification", False)),
        target_cache_dtype=str(vllm_config.cache_config.cache_dtype),
        drafter_cache_dtype=getattr(speculative, "kv_cache_dtype", None),
    )


def capture_tokens(vllm_config: Any) -> int | None:
    """Largest batch, in tokens, that replays a CUDA graph; None when the engine captures none."""
    compilation = vllm_config.compilation_config
    mode = getattr(compilation.cudagraph_mode, "name", "NONE")
    return None if mode == "NONE" else compilation.max_cudagraph_capture_size or None


def drafter_configuration(drafter: Model) -> dict[str, Any]:
    """The drafter's own config.json: vLLM's translation of it drops the block size. Empty when it cannot be read."""
    for path in _files(drafter, ("config.json",)):
        try:
            found = json.loads(path.read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}
    return {}


def aux_layers(configuration: Mapping[str, Any]) -> int | None:
    """How many of the target's layers the drafter reads; None when its configuration says so in no way known here."""
    native = configuration.get("dflash_config")
    named = configuration.get("aux_hidden_state_layer_ids") or (
        native.get("target_layer_ids") if isinstance(native, dict) else None
    )
    return len(named) if isinstance(named, list) and named else None


def fusion_width(drafter: Model) -> int | None:
    """Columns of the drafter's fusion layer, from the headers of its weights; None when they are not on this disk."""
    names = ("model.safetensors", "*.safetensors")
    for path in _files(drafter, names):
        shape = tensor_shapes(path).get(FUSION_LAYER)
        if shape is not None and len(shape) == 2:
            return shape[1]
    return None


def tensor_shapes(path: Path) -> dict[str, list[int]]:
    """Shapes in a safetensors file, without its weights. Empty for a file that is none."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, MAX_HEADER_BYTES)))
    except (OSError, ValueError, struct.error):
        return {}
    return {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}


def _files(model: Model, patterns: Iterable[str]) -> list[Path]:
    """Files of `model` that are already on this disk, in a folder or in the download cache."""
    folder = Path(model.name)
    if folder.is_dir():
        return [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    from huggingface_hub import try_to_load_from_cache

    plain = (pattern for pattern in patterns if "*" not in pattern)
    found = (try_to_load_from_cache(model.name, pattern, revision=model.revision) for pattern in plain)
    return [Path(path) for path in found if isinstance(path, str)]
