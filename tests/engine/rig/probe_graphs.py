"""Which captured CUDA graph vLLM finds for each batch: probe_graphs.py SEQUENCES prints one JSON object.

Runs in the engine's environment on a CPU: nothing is captured, vLLM's own classes list what they would capture and
choose from it. First as they are, then as the plugin leaves them.
"""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import Any

from vllm.config.compilation import CUDAGraphMode
from vllm.v1.worker.gpu.cudagraph_utils import CudaGraphManager
from vllm.v1.worker.gpu.spec_decode.dflash.cudagraph import DFlashCudaGraphManager

from specdec_vllm import graphs

MAX_K = 7


def manager(owner: Any, sequences: int, mode: Any) -> Any:
    """What the constructor of `owner` makes, as far as the choice of graphs reads it, with graphs for every K."""
    limit = sequences * (MAX_K + 1)
    every_k = [[1, sequences - MAX_K, MAX_K], *([sequences - k, sequences - k, k] for k in reversed(range(MAX_K)))]
    made = object.__new__(owner)
    vars(made).update(
        compilation_config=SimpleNamespace(
            cudagraph_capture_sizes=[1, 2, 4, *range(8, min(limit + 1, 256), 8), *range(256, limit + 1, 16)],
            max_cudagraph_capture_size=limit,
        ),
        vllm_config=SimpleNamespace(
            num_speculative_tokens=MAX_K,
            speculative_config=SimpleNamespace(
                uses_dynamic_speculative_decoding=lambda: True, num_speculative_tokens_per_batch_size=every_k
            ),
            cache_config=SimpleNamespace(use_kda_recoverssm=False),
        ),
        cudagraph_mode=mode, max_num_reqs=sequences, decode_query_len=MAX_K + 1, varlen_decode=False,
        ubatch_runner=None, lora_capture_cases=[0], _lora_dispatch_map={}, _max_lora_case=0,
        _candidates={}, _capture_descs={}, _graphs_captured=True,
    )  # fmt: skip
    made._init_candidates()
    return made


def missed(found: Any, ks: range) -> list[tuple[int, int]]:
    """(K, requests) for which the smallest graph of that K that holds them was captured, and is not chosen."""
    captured = found._capture_descs[CUDAGraphMode.FULL]
    wrong = []
    for k in ks:
        own = sorted(graph.num_tokens for graph in captured if graph.uniform_token_count == k + 1)
        for requests in range(1, found.max_num_reqs + 1):
            tokens = requests * (k + 1)
            fitting = next((size for size in own if size >= tokens), None)
            chosen = found.dispatch(requests, tokens, k + 1, 0)
            if fitting and (chosen.cg_mode, chosen.num_tokens) != (CUDAGraphMode.FULL, fitting):
                wrong.append((k, requests))
    return wrong


def beyond(found: Any) -> list[tuple[int, int]]:
    """(K, requests) for which no graph was captured."""
    largest = dict.fromkeys(range(MAX_K + 1), 0)
    for graph in found._capture_descs[CUDAGraphMode.FULL]:
        k = graph.uniform_token_count - 1
        largest[k] = max(largest[k], graph.num_reqs)
    return [(k, n) for k, most in largest.items() for n in range(most + 1, found.max_num_reqs + 1)]


def mixed_steps(found: Any) -> list[Any]:
    """The graph's size for steps with a prefill, by their tokens."""
    chosen = (found.dispatch(1, tokens, None, 0) for tokens in range(1, found.max_num_reqs * (MAX_K + 1) + 1))
    return [(each.cg_mode.name, each.num_tokens) for each in chosen]


def seen(sequences: int) -> dict[str, Any]:
    target = manager(CudaGraphManager, sequences, CUDAGraphMode.FULL_AND_PIECEWISE)
    drafter = manager(DFlashCudaGraphManager, sequences, CUDAGraphMode.FULL_DECODE_ONLY)
    return {
        "target": {
            "captured": len(target._capture_descs[CUDAGraphMode.FULL]),
            "missed": missed(target, range(MAX_K + 1)),
            "beyond": beyond(target),
            "mixed": mixed_steps(target),
        },
        "drafter": {
            "captured": len(drafter._capture_descs[CUDAGraphMode.FULL]),
            "missed": missed(drafter, range(MAX_K, MAX_K + 1)),
        },
    }


def main() -> None:
    sequences = int(sys.argv[1])
    stock = seen(sequences)
    graphs.hook()
    graphs.hook()
    print("\n" + json.dumps({"stock": stock, "ours": seen(sequences)}))


if __name__ == "__main__":
    main()
