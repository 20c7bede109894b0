"""What one scrape of one pod showed: the tuner's only input. Counters are cumulative since the engine started."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

# Inclusive upper ends of the batch buckets of docs/engine-contract.md; the last bucket is open.
BATCH_BUCKET_ENDS: Final = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)


def batches_of(bucket: int, most: int) -> range:
    """The batch sizes of a bucket up to `most`; the last one is open."""
    first = 1 if bucket == 0 else BATCH_BUCKET_ENDS[bucket - 1] + 1
    return range(first, min(BATCH_BUCKET_ENDS[bucket] if bucket < len(BATCH_BUCKET_ENDS) else most, most) + 1)


@dataclass(frozen=True, slots=True)
class Histogram:
    """A Prometheus histogram: `upper_seconds` ascending without +Inf, `cumulative` counts of the same length."""

    upper_seconds: tuple[float, ...]
    cumulative: tuple[float, ...]
    count: float
    sum_seconds: float


@dataclass(frozen=True, slots=True)
class StockCounters:
    """vLLM's own families, summed over the label `engine`. None: not on the page."""

    drafts: float | None
    draft_tokens: float | None
    accepted_tokens: float | None
    accepted_per_position: tuple[float, ...]
    generated_tokens: float | None
    prompt_tokens: float | None
    engine_steps: float | None
    inter_token_latency: Histogram | None
    time_per_output_token: Histogram | None
    time_to_first_token: Histogram | None
    running_requests: float | None
    waiting_requests: float | None
    kv_cache_usage: float | None
    preemptions: float | None
    created: float | None


@dataclass(frozen=True, slots=True)
class Cell:
    """Exact counters of one (K, batch bucket, phase); families as in docs/engine-contract.md.

    bucket: index into BATCH_BUCKET_ENDS, len(BATCH_BUCKET_ENDS) for the open last one.
    verified, accepted: shape (positions,), drafts per position.
    """

    k: int
    bucket: int
    mixed: bool
    steps: float
    step_seconds: float
    requests: float
    prefill_tokens: float
    drafts: float
    verified: tuple[float, ...]
    accepted: tuple[float, ...]
    generated_tokens: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One pod at one instant.

    pod: name, for humans and for pairing with the previous sample; carries no meaning.
    incarnation: changes whenever the engine process may have restarted (pod UID, container restart count).
    at: seconds since the epoch at which the page was read.
    cells: empty when the engine has no exact counters.
    schedule_revision: None when the engine has no live endpoint.
    on_trial: whether the pod runs with another start value than its peers; it is compared, not averaged in.
    """

    pod: str
    incarnation: str
    at: float
    stock: StockCounters
    cells: tuple[Cell, ...] = field(default=())
    schedule_revision: int | None = None
    on_trial: bool = False
