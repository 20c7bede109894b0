"""Write the metrics page: vLLM's families by name, type and label, the exact counters, and the simulator's own.

Written by hand because prometheus_client would hold the engine up for milliseconds at every scrape.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import REGISTRY, generate_latest

from specdec_simulator.buckets import BATCH_LABELS
from specdec_simulator.counters import CellKey, Counters, Histogram, at_least

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Gauges:
    """What the page says beside the counters. lag, slipped: of the simulated clock, seconds."""

    running: int
    waiting: int
    kv_usage: float
    lag_seconds: float
    max_lag_seconds: float
    slipped_seconds: float
    schedule_revision: int
    schedule_changed_at: float


class Page:
    """Collects families in order. labels: on every sample of vLLM's families."""

    def __init__(self, labels: Labels, created: float) -> None:
        self._labels = dict(labels)
        self._created = created
        self._lines: list[str] = []

    def gauge(self, name: str, help_text: str, values: Iterable[tuple[Labels, float]] | float) -> None:
        self._head(name, help_text, "gauge")
        self._samples(name, [({}, values)] if isinstance(values, (int, float)) else values)

    def counter(
        self, name: str, help_text: str, values: Sequence[tuple[Labels, float]] | float, *, created: bool = True
    ) -> None:
        """`name` without `_total`; a gauge `_created` follows, as prometheus_client writes it."""
        samples = [({}, values)] if isinstance(values, (int, float)) else values
        self._head(f"{name}_total", help_text, "counter")
        self._samples(f"{name}_total", samples)
        if created:
            self._head(f"{name}_created", help_text, "gauge")
            self._samples(f"{name}_created", [(labels, self._created) for labels, _ in samples])

    def histogram(self, name: str, help_text: str, histogram: Histogram) -> None:
        self._head(name, help_text, "histogram")
        total = 0
        for bound, count in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
            total += count
            upper = "+Inf" if bound == float("inf") else repr(float(bound))
            self._samples(f"{name}_bucket", [({"le": upper}, total)])
        self._samples(f"{name}_count", [({}, histogram.count)])
        self._samples(f"{name}_sum", [({}, histogram.sum)])
        self._head(f"{name}_created", help_text, "gauge")
        self._samples(f"{name}_created", [({}, self._created)])

    def text(self) -> bytes:
        return "\n".join([*self._lines, ""]).encode()

    def _head(self, name: str, help_text: str, kind: str) -> None:
        self._lines += (f"# HELP {name} {help_text}", f"# TYPE {name} {kind}")

    def _samples(self, name: str, values: Iterable[tuple[Labels, float]]) -> None:
        for extra, value in values:
            labels = ",".join(f'{key}="{text}"' for key, text in sorted((self._labels | dict(extra)).items()))
            self._lines.append(f"{name}{{{labels}}} {float(value)!r}")


def write(
    labels: Labels, counters: Counters, gauges: Gauges, *, speculates: bool, contract: bool, start_k: int
) -> bytes:
    """The whole page. speculates: with vLLM's families of speculative decoding; contract: with the exact counters."""
    page = Page(labels, counters.created)
    if speculates:
        _speculation(page, counters, start_k)
    _load(page, gauges)
    _tokens(page, counters)
    _latencies(page, counters)
    text = generate_latest(REGISTRY) + page.text()
    if contract:
        text += _exact(labels, counters, gauges)
    return text + _simulator(labels, counters, gauges)


def _speculation(page: Page, counters: Counters, start_k: int) -> None:
    per_position = at_least(counters.accepted)
    page.counter("vllm:spec_decode_num_drafts", "Number of spec decoding drafts.", counters.drafts)
    page.counter("vllm:spec_decode_num_draft_tokens", "Number of draft tokens.", counters.draft_tokens)
    page.counter("vllm:spec_decode_num_accepted_tokens", "Number of accepted tokens.", sum(per_position))
    page.counter(
        "vllm:spec_decode_num_accepted_tokens_per_pos",
        "Accepted tokens per draft position.",
        [({"position": str(position)}, per_position[position]) for position in range(start_k)],
    )


def _load(page: Page, gauges: Gauges) -> None:
    page.gauge("vllm:num_requests_running", "Number of requests in model execution batches.", gauges.running)
    page.gauge("vllm:num_requests_waiting", "Number of requests waiting to be processed.", gauges.waiting)
    page.gauge(
        "vllm:num_requests_waiting_by_reason",
        "Number of waiting requests by reason.",
        [({"reason": "capacity"}, gauges.waiting), ({"reason": "deferred"}, 0)],
    )
    page.gauge(
        "vllm:engine_sleep_state",
        "Engine sleep state.",
        [({"sleep_state": state}, state == "awake") for state in ("awake", "weights_offloaded", "discard_all")],
    )
    page.gauge("vllm:kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.", gauges.kv_usage)


def _tokens(page: Page, counters: Counters) -> None:
    page.counter("vllm:prefix_cache_queries", "Prefix cache queries, in tokens.", counters.prompt_tokens)
    page.counter("vllm:prefix_cache_hits", "Prefix cache hits, in tokens.", 0)
    page.counter("vllm:num_preemptions", "Cumulative number of preemption from the engine.", counters.preemptions)
    page.counter("vllm:prompt_tokens", "Number of prefill tokens processed.", counters.prompt_tokens)
    sources = ("local_compute", "local_cache_hit", "external_kv_transfer")
    page.counter(
        "vllm:prompt_tokens_by_source",
        "Number of prompt tokens by source.",
        [({"source": source}, counters.prompt_tokens * (source == "local_compute")) for source in sources],
    )
    page.counter("vllm:prompt_tokens_cached", "Number of cached prompt tokens.", 0)
    page.counter("vllm:generation_tokens", "Number of generation tokens processed.", counters.generated_tokens)
    page.counter(
        "vllm:request_success",
        "Count of successfully processed requests.",
        [({"finished_reason": reason}, count) for reason, count in counters.finished.items()],
    )
    page.histogram("vllm:request_prompt_tokens", "Prefill tokens of a request.", counters.request_prompt_tokens)
    page.histogram(
        "vllm:request_generation_tokens", "Generation tokens of a request.", counters.request_generation_tokens
    )
    page.histogram("vllm:iteration_tokens_total", "Number of tokens per engine_step.", counters.step_tokens)
    page.histogram("vllm:request_params_max_tokens", "The max_tokens request parameter.", counters.request_max_tokens)
    page.histogram("vllm:request_num_preemptions", "Preemptions of a request.", counters.request_preemptions)


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
        page.histogram(f"vllm:{name}_seconds", f"Histogram of {name.replace('_', ' ')} in seconds.", histogram)


def _exact(labels: Labels, counters: Counters, gauges: Gauges) -> bytes:
    page = Page(labels, counters.created)
    cells = [(_cell_labels(key), key[0], counts) for key, counts in sorted(counters.cells.items())]
    for name, help_text, attribute in (
        ("steps", "Engine steps.", "steps"),
        ("step_seconds", "Wall time of engine steps.", "seconds"),
        ("step_requests", "Requests scheduled, summed over steps.", "requests"),
        ("step_prefill_tokens", "Prompt tokens computed.", "prefill_tokens"),
        ("generated_tokens", "Tokens that reached requests.", "generated_tokens"),
    ):
        values = [(cell, float(getattr(counts, attribute))) for cell, _, counts in cells]
        page.counter(f"specdec:{name}", help_text, values, created=False)
    drafts = [(cell, k, counts.accepted) for cell, k, counts in cells if k]
    page.counter("specdec:drafts", "Drafts verified.", [(cell, sum(a)) for cell, _, a in drafts], created=False)
    page.counter(
        "specdec:verified_tokens",
        "Drafts whose token at this position was verified.",
        [(cell | {"position": str(p)}, sum(a)) for cell, k, a in drafts for p in range(k)],
        created=False,
    )
    page.counter(
        "specdec:accepted_tokens",
        "Drafts whose tokens up to and including this position were all accepted.",
        [(cell | {"position": str(p)}, at_least(a)[p]) for cell, k, a in drafts for p in range(k)],
        created=False,
    )
    own = Page({"engine": labels["engine"]}, counters.created)
    own.gauge("specdec:schedule_revision", "Revision of the schedule in force.", gauges.schedule_revision)
    own.gauge(
        "specdec:schedule_changed_timestamp_seconds",
        "Unix time of the last change of the schedule, 0 before the first.",
        gauges.schedule_changed_at,
    )
    return page.text() + own.text()


def _cell_labels(key: CellKey) -> dict[str, str]:
    k, bucket, mixed = key
    return {"k": str(k), "batch": BATCH_LABELS[bucket], "phase": "mixed" if mixed else "decode"}


def _simulator(labels: Labels, counters: Counters, gauges: Gauges) -> bytes:
    page = Page({"engine": labels["engine"]}, counters.created)
    name = "specdec_simulator:clock"
    page.gauge(f"{name}_lag_seconds", "How late the last step ended.", gauges.lag_seconds)
    page.gauge(f"{name}_max_lag_seconds", "How late a step ended at most.", gauges.max_lag_seconds)
    page.counter(f"{name}_slipped_seconds", "Time that the clock gave up.", gauges.slipped_seconds, created=False)
    page.counter(f"{name}_busy_seconds", "Time with a step under way.", counters.busy_seconds, created=False)
    return page.text()
