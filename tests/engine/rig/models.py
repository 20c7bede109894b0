"""Make the random models that the engine tests serve, in the engine's environment: models.py FOLDER [--flash LAYERS]

Random weights are enough: what is tested is the machinery, and greedy output must not depend on the drafter anyway.
With --flash it is the model card's pair in its true widths with fewer layers, for a GPU; weights are made up at load.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

VOCABULARY = 1024
MAX_POSITIONS = 4096
BLOCK_SIZE = 8
SPECIAL_TOKENS = ("<|bos|>", "<|eos|>", "<|pad|>", "<|mask|>", "<|user|>", "<|assistant|>")
BOS, EOS, PAD, MASK = range(4)
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ 'assistant' if m['role'] == 'assistant' else 'user' }}|>"
    "{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
CORPUS = (
    "The scheduler hands the batch to the worker and the worker hands the tokens back to the scheduler.",
    "A draft proposes tokens, the target verifies the tokens, and the accepted tokens reach the request.",
    "def schedule(self, request): return self.waiting.pop() if self.waiting else None",
)


@dataclass(frozen=True)
class Shape:
    """One transformer: sizes of its layers."""

    hidden_size: int
    num_hidden_layers: int
    intermediate_size: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int = 64
    vocab_size: int = VOCABULARY
    max_position_embeddings: int = MAX_POSITIONS


@dataclass(frozen=True)
class Pair:
    """A target, its drafter, the target layers that the drafter reads, and the spread of the random weights."""

    target: Shape
    drafter: Shape
    aux_layers: tuple[int, ...]
    spread: float


PAIRS = {
    "tiny": Pair(Shape(256, 4, 512, 4, 2), Shape(256, 2, 512, 4, 2), (1, 2, 3), 0.08),
    # Large enough that a longer draft costs more time than it saves: a wrong K shows even on one CPU core.
    "medium": Pair(Shape(768, 8, 3072, 12, 4), Shape(768, 1, 3072, 12, 4), (1, 4, 7), 0.05),
}


def layers(shape: Shape, prefix: str, spread: float) -> Iterator[tuple[str, torch.Tensor]]:
    hidden, inner = shape.hidden_size, shape.intermediate_size
    queries, keys = shape.num_attention_heads * shape.head_dim, shape.num_key_value_heads * shape.head_dim
    matrices = {
        "self_attn.q_proj": (queries, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, queries),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }
    norms = {"self_attn.q_norm": shape.head_dim, "self_attn.k_norm": shape.head_dim, "input_layernorm": hidden,
             "post_attention_layernorm": hidden}  # fmt: skip
    for layer in range(shape.num_hidden_layers):
        for name, size in matrices.items():
            yield f"{prefix}layers.{layer}.{name}.weight", random(spread, *size)
        for name, width in norms.items():
            yield f"{prefix}layers.{layer}.{name}.weight", ones(width)


def random(spread: float, *size: int) -> torch.Tensor:
    return (torch.randn(*size) * spread).to(torch.bfloat16)


def ones(width: int) -> torch.Tensor:
    return torch.ones(width, dtype=torch.bfloat16)


def edges(hidden: int, spread: float, prefix: str) -> dict[str, torch.Tensor]:
    return {
        f"{prefix}embed_tokens.weight": random(spread, VOCABULARY, hidden),
        f"{prefix}norm.weight": ones(hidden),
        "lm_head.weight": random(spread, VOCABULARY, hidden),
    }


def qwen3(shape: Shape) -> dict[str, Any]:
    return asdict(shape) | {
        "model_type": "qwen3", "rms_norm_eps": 1e-6, "hidden_act": "silu", "attention_bias": False, "rope_theta": 1e6,
        "tie_word_embeddings": False, "dtype": "bfloat16",
    }  # fmt: skip


def drafter_config(shape: Shape, aux_layers: tuple[int, ...], target: Path, architecture: str) -> dict[str, Any]:
    sliding = {"layer_types": ["sliding_attention"] * shape.num_hidden_layers, "sliding_window": 512,
               "use_sliding_window": True}  # fmt: skip
    proposal = {"proposal_type": "greedy", "speculative_tokens": BLOCK_SIZE - 1, "accept_tolerance": 0.0,
                "verifier_accept_k": 1}  # fmt: skip
    return {
        "architectures": ["DFlashDraftModel"], "speculators_model_type": "dflash", "speculators_version": "0.4.0",
        "block_size": BLOCK_SIZE, "draft_vocab_size": VOCABULARY, "aux_hidden_state_layer_ids": list(aux_layers),
        "mask_token_id": MASK, "dtype": "bfloat16", "transformer_layer_config": qwen3(shape) | sliding,
        "speculators_config": {
            "algorithm": "dflash", "default_proposal_method": "greedy", "proposal_methods": [proposal],
            "verifier": {"name_or_path": str(target), "architectures": [architecture]},
        },
    }  # fmt: skip


def write(folder: Path, config: dict[str, Any], weights: dict[str, torch.Tensor] | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    if weights is not None:
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        # Written for its owner alone; in an image another user reads it.
        (folder / "model.safetensors").chmod(0o644)


def write_tokenizer(folder: Path) -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=list(SPECIAL_TOKENS), initial_alphabet=alphabet,
                                  show_progress=False)  # fmt: skip
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"bos_token": SPECIAL_TOKENS[BOS], "eos_token": SPECIAL_TOKENS[EOS], "pad_token": SPECIAL_TOKENS[PAD]}
    settings = special | {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": MAX_POSITIONS,
                          "chat_template": CHAT_TEMPLATE}  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1))


def write_drafter(folder: Path, pair: Pair, target: Path, architecture: str, *, streams: int = 1) -> None:
    hidden = pair.drafter.hidden_size
    fusion = {"fc.weight": random(pair.spread, hidden, hidden * streams * len(pair.aux_layers)),
              "hidden_norm.weight": ones(hidden)}  # fmt: skip
    weights = fusion | edges(hidden, pair.spread, "") | dict(layers(pair.drafter, "", pair.spread))
    config = drafter_config(pair.drafter, pair.aux_layers, target, architecture)
    write(folder, config | ({"hc_mult": streams} if streams > 1 else {}), weights)


def write_qwen3_pair(folder: Path, name: str, pair: Pair) -> None:
    target = folder / name
    config = qwen3(pair.target) | {"architectures": ["Qwen3ForCausalLM"], "bos_token_id": BOS, "eos_token_id": EOS,
                                   "pad_token_id": PAD}  # fmt: skip
    torch.manual_seed(0)
    weights = edges(pair.target.hidden_size, pair.spread, "model.") | dict(layers(pair.target, "model.", pair.spread))
    write(target, config, weights)
    write_tokenizer(target)
    torch.manual_seed(1)
    write_drafter(folder / f"{name}.dflash", pair, target, "Qwen3ForCausalLM")


DEEPSEEK_V4_STREAMS = 4
DEEPSEEK_V4 = {
    "architectures": ["DeepseekV4ForCausalLM"], "model_type": "deepseek_v4", "vocab_size": VOCABULARY,
    "hidden_size": 256, "moe_intermediate_size": 64, "num_hidden_layers": 6, "num_attention_heads": 8,
    "num_key_value_heads": 1, "head_dim": 512, "qk_rope_head_dim": 64, "q_lora_rank": 128, "o_lora_rank": 64,
    "o_groups": 2, "num_experts_per_tok": 6, "n_routed_experts": 256, "n_shared_experts": 1,
    "scoring_func": "sqrtsoftplus", "topk_method": "noaux_tc", "norm_topk_prob": True, "routed_scaling_factor": 1.5,
    "max_position_embeddings": MAX_POSITIONS, "rope_theta": 1e4, "compress_rope_theta": 160000.0,
    "rope_scaling": {"type": "yarn", "rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 1024,
                     "beta_fast": 32, "beta_slow": 1},
    "compress_ratios": [0, 0, 4, 128, 4, 0, 0], "hc_mult": DEEPSEEK_V4_STREAMS, "hc_sinkhorn_iters": 4, "hc_eps": 1e-6,
    "num_hash_layers": 1, "swiglu_limit": 10.0, "sliding_window": 128, "index_n_heads": 8, "index_head_dim": 128,
    "index_topk": 512, "num_nextn_predict_layers": 0, "hidden_act": "silu", "rms_norm_eps": 1e-6,
    "initializer_range": 0.02, "tie_word_embeddings": False, "bos_token_id": BOS, "eos_token_id": EOS,
    "pad_token_id": PAD, "torch_dtype": "bfloat16", "attention_bias": False, "attention_dropout": 0.0,
}  # fmt: skip


def write_deepseek_v4(folder: Path) -> None:
    """A DeepSeek-V4 with every kind of layer, tiny; its weights are made up at load time (--load-format dummy)."""
    target = folder / "deepseek-v4"
    write(target, DEEPSEEK_V4, None)
    write_tokenizer(target)
    pair = Pair(PAIRS["tiny"].target, PAIRS["tiny"].drafter, (1, 3, 5), 0.08)
    torch.manual_seed(1)
    write_drafter(folder / "deepseek-v4.dflash", pair, target, "DeepseekV4ForCausalLM", streams=DEEPSEEK_V4_STREAMS)


# The widths are the defaults of transformers' DeepseekV4Config and the model card's; the drafter's heads and inner
# width are a guess that yields its two billion parameters. Routing by hash is left out: no table of it can be made up.
FLASH_LAYERS = 43
FLASH_AUX_LAYERS = (3, 13, 23, 32, 42)
FLASH_DRAFTER = Shape(4096, 5, 12288, 32, 8, 128, 129280, 16384)
FLASH_DRAFT_VOCABULARY = 32000
FLASH = DEEPSEEK_V4 | {
    "vocab_size": 129280, "hidden_size": 4096, "moe_intermediate_size": 2048, "num_attention_heads": 64,
    "q_lora_rank": 1024, "o_lora_rank": 1024, "o_groups": 8, "hc_sinkhorn_iters": 20, "num_hash_layers": 0,
    "index_n_heads": 64, "max_position_embeddings": 16384, "expert_dtype": "fp4",
    "rope_scaling": {"type": "yarn", "rope_type": "yarn", "factor": 16, "original_max_position_embeddings": 65536,
                     "beta_fast": 32, "beta_slow": 1},
    "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic",
                            "weight_block_size": [128, 128], "scale_fmt": "ue8m0"},
}  # fmt: skip


def write_flash(folder: Path, layers: int) -> None:
    """DeepSeek-V4-Flash and its drafter, `layers` deep: both kinds of compressed attention in turn, no weights."""
    target = folder / "flash"
    ratios = [4 if layer % 2 == 0 else 128 for layer in range(layers)]
    write(target, FLASH | {"num_hidden_layers": layers, "compress_ratios": [*ratios, 0]}, None)
    write_tokenizer(target)
    read = tuple(max(1, round(layer * (layers - 1) / (FLASH_LAYERS - 1))) for layer in FLASH_AUX_LAYERS)
    config = drafter_config(FLASH_DRAFTER, read, target, "DeepseekV4ForCausalLM")
    config["transformer_layer_config"]["sliding_window"] = 2048
    own = {"hc_mult": DEEPSEEK_V4_STREAMS, "draft_vocab_size": FLASH_DRAFT_VOCABULARY}
    write(folder / "flash.dflash", config | own, None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--flash", type=int, metavar="LAYERS", help="of the 43")
    arguments = parser.parse_args()
    if arguments.flash:
        write_flash(arguments.folder, arguments.flash)
        return
    for name, pair in PAIRS.items():
        write_qwen3_pair(arguments.folder, name, pair)
    write_deepseek_v4(arguments.folder)


if __name__ == "__main__":
    main()
