"""The metrics page: vLLM 0.33's families by name, type and label; what a simulation has no figure for stays 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from specdec_simulator.counters import Counters
from specdec_simulator.exposition import Page, label

# The text of `cache_config_info`'s labels that nothing here sets.
_CACHE_DEFAULTS: Final = {
    "_block_size_resolved": "True", "cache_dtype": "auto", "cache_hit_alignment_tokens": "None",
    "enable_mamba_shared_prefix_checkpoint": "False", "enable_prefix_caching": "True", "gpu_memory_utilization": "0.92",
    "hash_block_size": "None", "is_attention_free": "False", "kv_cache_dtype_skip_layers": "[]",
    "kv_cache_layout": "None", "kv_cache_max_concurrency": "None", "kv_cache_memory_bytes": "None",
    "kv_offloading_backend": "native", "kv_offloading_size": "None", "kv_sharing_fast_prefill": "False",
    "mamba_block_size": "None", "mamba_cache_dtype": "auto", "mamba_cache_mode": "none",
    "mamba_page_size_padded": "None", "mamba_ssm_cache_dtype": "auto", "num_cpu_blocks": "None",
    "num_gpu_blocks_override": "None", "prefix_cache_retention_interval": "0", "prefix_caching_hash_algo": "sha256",
    "prefix_match_unit": "None", "replayssm_buffer_len": "16", "simple_cpu_offload_num_blocks": "None",
    "skip_page_size_padded": "None", "sliding_window": "None", "swa_bounded_replay": "True",
    "use_kda_recoverssm": "False", "use_replayssm": "False", "user_specified_block_size": "True",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Gauges:
    """What the page says beside the counters."""

    running: int
    waiting: int
    kv_usage: float
    kv_blocks: int
    block_size: int


def model_labels(model: str) -> str:
    return f'engine="0",{label("model_name", model)}'


def vllm_families(model: str, counters: Counters, gauges: Gauges, start_k: int) -> bytes:
    """start_k: 0 without speculation, then its families are absent."""
    page = Page(model_labels(model), counters.created)
    if start_k:
        _speculation(page, counters, start_k)
    _load(page, gauges)
    _caches(page, counters)
    _tokens(page, counters)
    _requests(page, counters)
    _latencies(page, counters)
    rejections, config = Page(label("model_name", model), counters.created), Page('engine="0"', counters.created)
    _rejections(rejections)
    info = [(_cache_config(gauges), 1)]
    config.gauge("vllm:cache_config_info", "Information of the LLMEngine CacheConfig", info)
    return page.text() + rejections.text() + config.text()


def _each(name: str, values: Mapping[str, float]) -> list[tuple[str, float]]:
    return [(label(name, text), value) for text, value in values.items()]


def _speculation(page: Page, counters: Counters, start_k: int) -> None:
    per_position = counters.accepted_per_position()
    page.counter("vllm:spec_decode_num_drafts", "Number of spec decoding drafts.", counters.drafts)
    page.counter("vllm:spec_decode_num_draft_tokens", "Number of draft tokens.", counters.draft_tokens)
    page.counter("vllm:spec_decode_num_accepted_tokens", "Number of accepted tokens.", sum(per_position))
    page.counter(
        "vllm:spec_decode_num_accepted_tokens_per_pos",
        "Accepted tokens per draft position.",
        _each("position", {str(position): per_position[position] for position in range(start_k)}),
    )


def _load(page: Page, gauges: Gauges) -> None:
    page.gauge("vllm:num_requests_running", "Number of requests in model execution batches.", gauges.running)
    page.gauge("vllm:num_requests_waiting", "Number of requests waiting to be processed.", gauges.waiting)
    reasons = {"capacity": gauges.waiting, "deferred": 0}
    page.gauge("vllm:num_requests_waiting_by_reason", "Waiting requests by reason.", _each("reason", reasons))
    states = {"awake": 1, "weights_offloaded": 0, "discard_all": 0}
    page.gauge("vllm:engine_sleep_state", "Engine sleep state.", _each("sleep_state", states))
    page.gauge("vllm:kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.", gauges.kv_usage)


def _caches(page: Page, counters: Counters) -> None:
    page.counter("vllm:prefix_cache_queries", "Prefix cache queries, in tokens.", counters.prompt_tokens)
    for name in ("prefix_cache_hits", "external_prefix_cache_queries", "external_prefix_cache_hits"):
        page.counter(f"vllm:{name}", f"{name.replace('_', ' ').capitalize()}, in tokens.", 0)
    for name in ("mm_cache_queries", "mm_cache_hits"):
        page.counter(f"vllm:{name}", f"{name.replace('_', ' ').capitalize()}, in items.", 0)


def _cache_config(gauges: Gauges) -> str:
    size = str(gauges.block_size)
    config = _CACHE_DEFAULTS | {
        "block_size": size,
        "effective_attention_block_size": size,
        "num_gpu_blocks": str(gauges.kv_blocks),
        "kv_cache_size_tokens": str(gauges.kv_blocks * gauges.block_size),
    }
    return ",".join(label(name, text) for name, text in config.items())


def _tokens(page: Page, counters: Counters) -> None:
    for what in ("flops", "read_bytes", "write_bytes"):
        page.counter(f"vllm:estimated_{what}_per_gpu", f"Estimated {what.replace('_', ' ')} per GPU.", 0)
    page.counter("vllm:num_preemptions", "Cumulative number of preemption from the engine.", counters.preemptions)
    page.counter("vllm:prompt_tokens", "Number of prefill tokens processed.", counters.prompt_tokens)
    sources = {"local_compute": counters.prompt_tokens, "local_cache_hit": 0, "external_kv_transfer": 0}
    page.counter("vllm:prompt_tokens_by_source", "Number of prompt tokens by source.", _each("source", sources))
    page.counter("vllm:prompt_tokens_cached", "Number of cached prompt tokens (local + external).", 0)
    tiers = dict.fromkeys(("device", "host", "p2p", "disk", "external_unspecified"), 0)
    page.counter("vllm:prompt_tokens_cached_by_source", "Cached prompt tokens by tier.", _each("source", tiers))
    page.counter("vllm:generation_tokens", "Number of generation tokens processed.", counters.generated_tokens)
    page.histogram("vllm:iteration_tokens_total", "Number of tokens per engine_step.", counters.step_tokens)


def _requests(page: Page, counters: Counters) -> None:
    finished = _each("finished_reason", counters.finished)
    page.counter("vllm:request_success", "Count of successfully processed requests.", finished)
    for name, help_text, histogram in (
        ("request_prompt_tokens", "Number of prefill tokens processed.", counters.request_prompt_tokens),
        ("request_generation_tokens", "Number of generation tokens processed.", counters.request_generation_tokens),
        ("request_max_num_generation_tokens", "Generation tokens requested.", counters.request_generation_tokens),
        ("request_params_n", "The n request parameter.", counters.request_n),
        ("request_params_max_tokens", "The max_tokens request parameter.", counters.request_max_tokens),
        ("request_num_preemptions", "Times a request was preempted.", counters.request_preemptions),
        ("request_prefill_kv_computed_tokens", "KV tokens computed in prefill.", counters.request_prompt_tokens),
    ):
        page.histogram(f"vllm:{name}", help_text, histogram)


def _latencies(page: Page, counters: Counters) -> None:
    for name, histogram in (
        ("time_to_first_token", counters.first_token),
        ("inter_token_latency", counters.inter_token),
        ("request_time_per_output_token", counters.time_per_output_token),
        ("e2e_request_latency", counters.e2e),
        ("request_queue_time", counters.queue_time),
        ("request_inference_time", counters.inference_time),
        ("request_prefill_time", counters.prefill_time),
        ("request_decode_time", counters.decode_time),
    ):
        page.histogram(f"vllm:{name}_seconds", f"{name.replace('_', ' ').capitalize()} in seconds.", histogram)


def _rejections(page: Page) -> None:
    reasons = {"max_num_queued_reqs": 0, "max_num_queued_tokens": 0}
    page.counter("vllm:admission_rejections", "Admission attempts rejected by a queue limit.", _each("reason", reasons))
