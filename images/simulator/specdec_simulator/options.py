"""What of a command line the simulator goes by, and how it says that vLLM would not start."""

from __future__ import annotations

from dataclasses import dataclass

from specdec_simulator.speculative import SpeculativeConfig


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What of the command line matters here. names: under which the model is served, the first in answers and metrics.

    max_num_seqs: for which the schedule is made; max_active_seqs: what one step takes, never more.
    capture_tokens: None without CUDA graphs. shutdown_timeout: seconds to drain, 0 aborts.
    """

    model: str
    names: tuple[str, ...]
    host: str
    port: int
    api_keys: tuple[str, ...]
    speculative: SpeculativeConfig | None
    max_model_len: int
    max_num_seqs: int
    max_active_seqs: int
    max_num_batched_tokens: int
    block_size: int
    kv_blocks_override: int | None
    capture_tokens: int | None
    data_parallel_size: int
    shutdown_timeout: int


class StartError(Exception):
    """vLLM would not start like this either; the message says why."""
