"""The figures of a set of requests: what a table row, a bar or a condition is about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Final

import numpy as np

from loadtests.plan import Objectives
from loadtests.records import RequestRecord
from loadtests.stats import (
    Estimate,
    Observed,
    Span,
    as_dict,
    binned_percentile,
    cut_at_blocks,
    percentile,
    rate,
    stratum,
    weighted_mean,
)

PERCENTILES: Final = (50, 90, 95, 99)
ACCEPTANCE: Final = "acceptance"


@dataclass(frozen=True, slots=True)
class Group:
    """Figures of a set of requests of one target. Milliseconds where `_ms`.

    tpot_ms: token-weighted, sum of (last - first) over sum of (tokens - 1), over all requests together.
    tokens_per_second: output tokens that arrived within the seconds that count, whenever their requests were sent.
    goodput: requests per second that met every objective; good_share: their share of all, failures included.
    chunk_length: output tokens per streamed chunk after the first, which is what an engine's step accepted.
    percentiles: by metric, then `p50` and so on; `acceptance` is each request's own tokens per chunk.
    """

    requests: int
    failed: dict[str, int]
    seconds: float
    prompt_tokens: int
    output_tokens: int
    tokens_per_second: Estimate
    requests_per_second: float
    goodput: Estimate
    good_share: Estimate | None
    failed_share: Estimate | None
    tpot_ms: Estimate | None
    chunk_length: Estimate | None
    percentiles: dict[str, dict[str, Estimate | None]]

    @property
    def failures(self) -> int:
        return sum(self.failed.values())


def is_good(record: RequestRecord, objectives: Objectives) -> bool:
    """Whether the request succeeded and met each threshold that is given."""
    times = {"ttft_ms": record.ttft_ms, "tpot_ms": record.tpot_ms, "e2el_ms": record.e2el_ms}
    return record.failure is None and objectives.met_by(**times)


def _observed(rows: Sequence[tuple[RequestRecord, float, float]]) -> Observed:
    """rows: request, value, weight. Each counts in the block of time and in the phase in which it was sent."""
    records = [row[0] for row in rows]
    strata = [stratum(record.phase) for record in records]
    return Observed.of([row[1] for row in rows], [r.at for r in records], [row[2] for row in rows], strata)


def observed_tpot(records: Iterable[RequestRecord]) -> Observed:
    """Per-request TPOT in ms, weighted by the tokens after the first."""
    return _observed(
        [(r, r.tpot_ms, r.output_tokens - 1.0) for r in records if r.tpot_ms is not None and r.output_tokens]
    )


def observed_chunks(records: Iterable[RequestRecord]) -> Observed:
    """Per-request tokens per chunk after the first, weighted by those chunks."""
    kept = [r for r in records if r.output_tokens and r.itl_ms]
    return _observed([(r, ((r.output_tokens or 0) - 1) / len(r.itl_ms), len(r.itl_ms)) for r in kept])


def observed(records: Iterable[RequestRecord], metric: str) -> Observed:
    """`ttft_ms`, `tpot_ms`, `e2el_ms` of requests that have it, unweighted."""
    return _observed([(r, value, 1.0) for r in records if (value := getattr(r, metric)) is not None])


def _observed_gaps(records: Iterable[RequestRecord]) -> Observed:
    """All gaps of all requests, of which there may be millions: without a Python object for each."""
    kept = [r for r in records if r.itl_ms]
    counts = [len(r.itl_ms) for r in kept]
    at, strata = np.array([r.at for r in kept]), np.array([stratum(r.phase) for r in kept], dtype=np.int64)
    values = np.concatenate([np.zeros(0), *(np.array(r.itl_ms) for r in kept)])
    return Observed.of(values, np.repeat(at, counts), strata=np.repeat(strata, counts))


def group(
    records: list[RequestRecord],
    spans: Sequence[Span],
    objectives: Objectives,
    chance: np.random.Generator,
    *,
    streaming: Sequence[RequestRecord],
    closed_loop: bool = False,
    block_seconds: float = inf,
) -> Group:
    """The figures of `records`, which were sent within `spans`.

    streaming: requests whose tokens count for the throughput as far as they arrived within `spans`, whenever sent.
    closed_loop: the servers' own speed decided how many were sent, so their number is uncertain as well.
    block_seconds: length of the blocks of a sweep; what arrives after the end of one is not part of the next.
    """
    seconds = sum(span.seconds for span in spans)
    good = _observed([(r, float(is_good(r, objectives)), 1.0) for r in records])
    failed = _observed([(r, float(r.failure is not None), 1.0) for r in records])
    share, per_second = weighted_mean(good, chance), len(records) / seconds
    return Group(
        requests=len(records),
        failed=dict(Counter(r.failure for r in records if r.failure is not None).most_common()),
        seconds=seconds,
        prompt_tokens=sum(r.prompt_tokens or 0 for r in records),
        output_tokens=sum(r.output_tokens or 0 for r in records),
        tokens_per_second=rate(_arrived(streaming, spans, block_seconds), spans, chance),
        requests_per_second=per_second,
        goodput=rate(good, spans, chance) if closed_loop or share is None else share.scaled(per_second),
        good_share=share,
        failed_share=weighted_mean(failed, chance),
        tpot_ms=weighted_mean(observed_tpot(records), chance),
        chunk_length=weighted_mean(observed_chunks(records), chance),
        percentiles=_percentiles(records, chance),
    )


def _arrived(records: Sequence[RequestRecord], spans: Sequence[Span], block_seconds: float) -> Observed:
    """Output tokens that arrived in each piece of `spans`; a request's tokens are spread evenly from first to last."""
    rows = [
        (r.at, r.ttft_ms or 0.0, r.e2el_ms, r.output_tokens)
        for r in records
        if r.output_tokens and r.e2el_ms is not None
    ]
    at, ttft, e2el, tokens = np.array(rows, dtype=np.float64).reshape(-1, 4).T
    first, last = at + ttft / 1e3, at + np.maximum(e2el, ttft + 1e-3) / 1e3
    density = tokens / (last - first)
    ends = last if block_seconds == inf else np.minimum(last, (np.floor(at / block_seconds) + 1) * block_seconds)
    pieces = cut_at_blocks(spans)
    within = [np.clip(np.minimum(ends, piece.end) - np.maximum(first, piece.start), 0.0, None) for piece in pieces]
    values = [float((density * seconds).sum()) for seconds in within]
    return Observed.of(values, [piece.start for piece in pieces], strata=[piece.stratum for piece in pieces])


def _percentiles(records: list[RequestRecord], chance: np.random.Generator) -> dict[str, dict[str, Estimate | None]]:
    values = {name: observed(records, f"{name}_ms") for name in ("ttft", "tpot", "e2el")}
    values[ACCEPTANCE] = observed_chunks(records)
    gaps = _observed_gaps(records)
    found = {name: {f"p{p}": percentile(of, p, chance) for p in PERCENTILES} for name, of in values.items()}
    return {**found, "itl": {f"p{p}": binned_percentile(gaps, p, chance) for p in PERCENTILES}}


def group_dict(part: Group) -> dict[str, Any]:
    """A group as it stands in `summary.json`."""
    return {
        "requests": part.requests,
        "failed": part.failed,
        "seconds": round(part.seconds, 3),
        "promptTokens": part.prompt_tokens,
        "outputTokens": part.output_tokens,
        "tokensPerSecond": as_dict(part.tokens_per_second),
        "requestsPerSecond": round(part.requests_per_second, 4),
        "goodput": as_dict(part.goodput),
        "goodShare": as_dict(part.good_share),
        "failedShare": as_dict(part.failed_share),
        "tokenWeightedTpotMs": as_dict(part.tpot_ms),
        "tokensPerChunk": as_dict(part.chunk_length),
        "percentilesMs": {name: _percentiles_dict(part, name) for name in part.percentiles if name != ACCEPTANCE},
        "acceptedLengthPerRequest": _percentiles_dict(part, ACCEPTANCE),
    }


def _percentiles_dict(part: Group, name: str) -> dict[str, Any]:
    return {p: as_dict(value) for p, value in part.percentiles[name].items()}
