"""The metric families that the operator reads: vLLM's own and the exact counters of docs/engine-contract.md.

`SAMPLE` finds their samples on a page and skips everything else, comments included: a page has some 650 lines, of which
about a hundred matter. It works on bytes, has one start per line and no nested repetition: no page can slow it down.
"""

from __future__ import annotations

import re
from typing import Final

from specdec.tuning.samples import BATCH_BUCKET_ENDS

POSITIONS: Final = 7
MAX_K: Final = POSITIONS

DRAFTS: Final = b"vllm:spec_decode_num_drafts_total"
DRAFT_TOKENS: Final = b"vllm:spec_decode_num_draft_tokens_total"
ACCEPTED_TOKENS: Final = b"vllm:spec_decode_num_accepted_tokens_total"
ACCEPTED_PER_POSITION: Final = b"vllm:spec_decode_num_accepted_tokens_per_pos_total"
GENERATED_TOKENS: Final = b"vllm:generation_tokens_total"
CREATED: Final = b"vllm:generation_tokens_created"
PROMPT_TOKENS: Final = b"vllm:prompt_tokens_total"
# One observation per engine step, so the count of this histogram counts steps.
ENGINE_STEPS: Final = b"vllm:iteration_tokens_total_count"
RUNNING_REQUESTS: Final = b"vllm:num_requests_running"
WAITING_REQUESTS: Final = b"vllm:num_requests_waiting"
KV_CACHE_USAGE: Final = b"vllm:kv_cache_usage_perc"
PREEMPTIONS: Final = b"vllm:num_preemptions_total"
INTER_TOKEN_LATENCY: Final = b"vllm:inter_token_latency_seconds"
TIME_PER_OUTPUT_TOKEN: Final = b"vllm:request_time_per_output_token_seconds"
TIME_TO_FIRST_TOKEN: Final = b"vllm:time_to_first_token_seconds"

# Attribute of `Cell` -> exact counter; the two after it carry a position besides.
CELL_TOTALS: Final = {
    "steps": b"specdec:steps_total",
    "step_seconds": b"specdec:step_seconds_total",
    "requests": b"specdec:step_requests_total",
    "prefill_tokens": b"specdec:step_prefill_tokens_total",
    "drafts": b"specdec:drafts_total",
    "generated_tokens": b"specdec:generated_tokens_total",
}
CELL_VERIFIED: Final = b"specdec:verified_tokens_total"
CELL_ACCEPTED: Final = b"specdec:accepted_tokens_total"
SCHEDULE_REVISION: Final = b"specdec:schedule_revision"


def _bucket_labels() -> dict[bytes, int]:
    labels: dict[bytes, int] = {}
    start = 1
    for index, end in enumerate(BATCH_BUCKET_ENDS):
        labels[str(end).encode() if end == start else f"{start}-{end}".encode()] = index
        start = end + 1
    labels[f"{start}+".encode()] = len(BATCH_BUCKET_ENDS)
    return labels


# Value of the label `batch` -> index of the bucket.
BATCH_LABELS: Final = _bucket_labels()


def _pattern() -> re.Pattern[bytes]:
    counters = (DRAFTS, DRAFT_TOKENS, ACCEPTED_TOKENS, ACCEPTED_PER_POSITION, GENERATED_TOKENS, CREATED, PROMPT_TOKENS)
    gauges = (ENGINE_STEPS, RUNNING_REQUESTS, WAITING_REQUESTS, KV_CACHE_USAGE, PREEMPTIONS, SCHEDULE_REVISION)
    histograms = (INTER_TOKEN_LATENCY, TIME_PER_OUTPUT_TOKEN, TIME_TO_FIRST_TOKEN)
    parts = [name + part for name in histograms for part in (b"_bucket", b"_count", b"_sum")]
    names = [*counters, *gauges, *parts, *CELL_TOTALS.values(), CELL_VERIFIED, CELL_ACCEPTED]
    alternatives = b"|".join(map(re.escape, names))
    return re.compile(rb"\n(" + alternatives + rb")(?:\{([^\n]*)\})? (\S++)")


# Groups: family, text between the braces (None without labels), value. Every sample needs a line feed before it: with a
# literal first byte the search is four times as fast as with an anchor.
SAMPLE: Final = _pattern()
LABEL: Final = re.compile(rb'([a-zA-Z_][a-zA-Z0-9_]*+)="((?:[^"\\]|\\.)*+)"')
