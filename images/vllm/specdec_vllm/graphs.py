"""CUDA graphs for a K that changes while the engine runs: captured for every K, and found at every batch size.

For each number of tokens vLLM lists the captured graphs of the next size up, and takes the first that fits. With
graphs for several K the next size up mostly belongs to another K: the batch misses the graph that was captured for it,
and each layer's attention runs eagerly. Here each kind of graph has a ladder of sizes of its own.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from importlib import import_module
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

MARK: Final = "_specdec_hooked"
WORKER: Final = "vllm.v1.worker.gpu"
READERS_OF_THE_SCHEDULE: Final = (
    f"{WORKER}.cudagraph_utils",
    f"{WORKER}.spec_decode.target_dependent_ar.cudagraph_utils",
)
# In vLLM's order of preference.
MODES: Final = ("FULL", "PIECEWISE")
# A graph may be larger than its batch in these; whatever else a release notes of a graph tells its kind.
SIZES: Final = frozenset({"num_tokens", "num_reqs"})

tokens_of = attrgetter("num_tokens")


def hook() -> None:
    """In this process, capture graphs for every K and find them; once, however often it is called."""
    for name in READERS_OF_THE_SCHEDULE:
        _name_every_k(import_module(name))
    _then(import_module(f"{WORKER}.cudagraph_utils").CudaGraphManager, _ladder)
    _then(import_module(f"{WORKER}.spec_decode.dflash.cudagraph").DFlashCudaGraphManager, _own_length)


def ladders(captured: Mapping[Any, Sequence[Any]]) -> dict[tuple[int, int], list[Any]]:
    """By (tokens, active LoRAs), the next size up of each kind of graph. captured: vLLM's descriptors by mode."""
    found: dict[tuple[int, int], list[Any]] = {}
    for mode in MODES:
        graphs = [graph for listed in captured.values() for graph in listed if graph.cg_mode.name == mode]
        for key, rungs in _next_sizes(graphs).items():
            found.setdefault(key, []).extend(sorted(rungs, key=tokens_of))
    return found


def _next_sizes(graphs: Iterable[Any]) -> dict[tuple[int, int], list[Any]]:
    kinds: defaultdict[tuple[Any, ...], list[Any]] = defaultdict(list)
    found: defaultdict[tuple[int, int], list[Any]] = defaultdict(list)
    for graph in sorted(graphs, key=tokens_of):
        kinds[_kind(graph)].append(graph)
    for ladder in kinds.values():
        lowest = 0
        for tokens, rung in groupby(ladder, tokens_of):
            alike = list(rung)
            for needed in range(lowest, tokens + 1):
                found[needed, alike[0].num_active_loras] += alike
            lowest = tokens + 1
    return found


def _kind(graph: Any) -> tuple[Any, ...]:
    return tuple(getattr(graph, field.name) for field in fields(graph) if field.name not in SIZES)


def _ladder(manager: Any) -> None:
    manager._candidates = ladders(manager._capture_descs)


def _own_length(manager: Any) -> None:
    """DFlash proposes all its tokens in one pass of one length, whatever K is: graphs of others are never replayed."""
    lengths = (None, manager.decode_query_len)
    captured = manager._capture_descs
    own = {mode: [g for g in graphs if g.uniform_token_count in lengths] for mode, graphs in captured.items()}
    manager._capture_descs = {mode: graphs for mode, graphs in own.items() if graphs}
    _ladder(manager)


def _then(owner: Any, step: Callable[[Any], None]) -> None:
    """Let `step` follow where managers of class `owner` list their graphs."""
    original = owner._init_candidates
    if getattr(original, MARK, None) is owner:
        return

    @functools.wraps(original)
    def init_candidates(self: Any) -> None:
        original(self)
        step(self)

    setattr(init_candidates, MARK, owner)
    owner._init_candidates = init_candidates


def _name_every_k(module: Any) -> None:
    """Let graphs be captured for every K, not only for those that the start schedule names."""
    original = module.build_dynamic_sd_schedule_lookup
    if hasattr(original, MARK):
        return

    @functools.wraps(original)
    def build(*args: Any, vllm_num_speculative_tokens: int, **kwargs: Any) -> list[int]:
        lookup = original(*args, vllm_num_speculative_tokens=vllm_num_speculative_tokens, **kwargs)
        return [*lookup, *range(vllm_num_speculative_tokens + 1)]

    setattr(build, MARK, True)
    module.build_dynamic_sd_schedule_lookup = build
