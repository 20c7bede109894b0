"""What vLLM's own classes make of a multi-stream drafter: probe_streams.py TARGET DRAFTER prints one JSON object.

Runs in the engine's environment, on stock and on patched source; the tests compare. No server, no weights.
"""

from __future__ import annotations

import importlib
import json
import sys
from types import SimpleNamespace
from typing import Any

import torch
from vllm.config import CUDAGraphMode, set_current_vllm_config
from vllm.engine.arg_utils import EngineArgs

TOKENS, STREAMS, HIDDEN, LAYERS = 5, 4, 8, 6
AUX_LAYERS = (1, 3, 6)


def configuration(target: str, drafter: str) -> Any:
    speculation = {"method": "dflash", "model": drafter, "num_speculative_tokens": 7, "kv_cache_dtype": "bfloat16"}
    arguments = EngineArgs(
        model=target, load_format="dummy", kv_cache_dtype="fp8", enforce_eager=True, max_model_len=1024,
        max_num_seqs=4, dtype="bfloat16", speculative_config=speculation,
    )  # fmt: skip
    return arguments.create_engine_config()


def fusion_input(vllm_config: Any) -> int:
    from vllm.model_executor.models import qwen3_dflash

    return int(qwen3_dflash._get_dflash_fc_input_size(vllm_config))


def speculator(vllm_config: Any) -> Any:
    """vLLM's DFlash speculator as it is with full CUDA graphs, the draft stating the number of streams itself."""
    from vllm.v1.worker.gpu.spec_decode.dflash.speculator import DFlashSpeculator

    vllm_config.compilation_config.cudagraph_mode = CUDAGraphMode.FULL_DECODE_ONLY
    vllm_config.speculative_config.draft_model_config.hf_config.hc_mult = STREAMS
    with set_current_vllm_config(vllm_config):
        return DFlashSpeculator(vllm_config, torch.device("cpu"))


def staged_rows(found: Any) -> dict[str, Any]:
    """Store four tokens of three layers with four streams each, and look at what a graph would replay."""
    staging = getattr(found, "_aux_staging", None)
    if staging is None:
        return {"width": None, "whole": None}
    width = int(staging.shape[1])
    layers = [torch.full((8, STREAMS * 256), float(i + 1), dtype=torch.bfloat16) for i in range(3)]
    found.model = SimpleNamespace(combine_hidden_states=lambda h: h[:, : found.hidden_states.shape[-1]])
    found._store_hidden_states(8, torch.zeros(8, 256, dtype=torch.bfloat16), layers, num_graph_tokens=4)
    # torch.cat resizes an output that is too small, so a graph goes on reading the memory that it captured.
    replayed = staging[:4] if staging.shape[1] == 3 * STREAMS * 256 and found._aux_staging is staging else None
    whole = replayed is not None and torch.equal(replayed, torch.cat([h[:4] for h in layers], dim=-1))
    return {"width": width, "whole": whole}


class Layer:
    """A layer whose output is its own number, so that streams can be told apart."""

    def __init__(self, index: int) -> None:
        self.index = index

    def __call__(self, hidden: Any, *rest: Any, **more: Any) -> tuple[Any, Any, None, None]:
        residual = rest[4] if rest[4] is not None else torch.zeros(TOKENS, STREAMS, HIDDEN)
        return torch.full((TOKENS, HIDDEN), float(self.index + 1)), residual, None, None


def nvidia_forward() -> dict[str, Any]:
    """The forward of the GPU's DeepSeek-V4 itself, around stub layers: stream s of layer i holds (s + 1) * (i + 1)."""
    module = importlib.import_module("vllm.models.deepseek_v4.nvidia.model")
    module.get_pp_group = lambda: SimpleNamespace(is_first_rank=True, is_last_rank=True)
    scale = torch.arange(1, STREAMS + 1).view(1, STREAMS, 1)
    module.mhc_post_tilelang = lambda hidden, residual, post, mix: residual + hidden.unsqueeze(1) * scale
    for name in [n for n in dir(module) if n.startswith("hc_head")]:
        setattr(module, name, lambda hidden, *rest, **more: hidden.mean(1))
    model = SimpleNamespace(
        embed_input_ids=lambda ids: torch.ones(TOKENS, HIDDEN), use_native_mega_moe=False, use_sequence_parallel=False,
        layers=[Layer(i) for i in range(LAYERS)], start_layer=0, end_layer=LAYERS, aux_hidden_state_layers=AUX_LAYERS,
        collect_remote_aux_hidden_states=lambda tensors: [], _mtp_hidden_buffer=None, hc_head_fn=None,
        hc_head_scale=None, hc_head_base=None, rms_norm_eps=1e-6, hc_eps=1e-6, norm=lambda x: x, hc_mult=STREAMS,
        config=SimpleNamespace(), has_local_hash_moe=False, drafter_streams=STREAMS,
    )  # fmt: skip
    ids = torch.zeros(TOKENS, dtype=torch.long)
    _, aux = module.DeepseekV4Model.forward(model, ids, torch.arange(TOKENS), None)
    return {"widths": [int(a.shape[1]) for a in aux], "first_row": aux[1][0].tolist()[::HIDDEN]}


def main() -> None:
    vllm_config = configuration(*sys.argv[1:3])
    found = speculator(vllm_config)
    seen = {
        "fusion_input": fusion_input(vllm_config),
        "buffer_width": int(found.hidden_states.shape[1]),
        "staged": staged_rows(found),
        "forward": nvidia_forward(),
    }
    print("\n" + json.dumps(seen))


if __name__ == "__main__":
    main()
