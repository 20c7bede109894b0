"""How many hidden-state streams of its target a drafter reads. The patched places in vLLM ask here, and nowhere else.

DeepSeek-V4 keeps `hc_mult` parallel residual streams per layer. Its DFlash drafter was trained on all of them side by
side, so its fusion layer takes hc_mult x hidden_size inputs per tapped layer; other drafters take one averaged stream.
"""

from __future__ import annotations

from typing import Any, Final

MULTI_STREAM_TARGETS: Final = ("deepseek_v4",)


def drafter_streams(vllm_config: Any) -> int:
    """Streams that the drafter of `vllm_config` reads: what its configuration says, else all that the target has."""
    speculative = vllm_config.speculative_config
    if speculative is None or speculative.method != "dflash":
        return 1
    target = speculative.target_model_config.hf_config
    if getattr(target, "model_type", None) not in MULTI_STREAM_TARGETS:
        return 1
    draft = speculative.draft_model_config.hf_config
    stated = getattr(draft, "hc_mult", None)
    return int(stated if stated is not None else getattr(target, "hc_mult", 1))


def drafter_width(vllm_config: Any) -> int:
    """Inputs that the drafter's fusion layer takes per tapped target layer.

    A configuration may state the width of one stream as `target_hidden_size`, of all of them, or nothing.
    """
    draft = vllm_config.speculative_config.draft_model_config.hf_config
    stated = int(getattr(draft, "target_hidden_size", None) or draft.hidden_size)
    streams = drafter_streams(vllm_config)
    hidden = int(vllm_config.speculative_config.target_model_config.get_hidden_size())
    return stated if stated == hidden * streams else stated * streams
