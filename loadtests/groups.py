"""The figures of a set of requests: what a table row, a bar or a condition is about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from loadtests.plan import Objectives
from loadtests.records import RequestRecord
from loadtests.stats import Estimate, Observed, as_dict, percentile, weighted_mean

PERCENTILES: Final = (50, 90, 95, 99)


@dataclass(frozen=True, slots=True)
class Group:
    """Figures of a set of requests of one target. Milliseconds where `_ms`.

    tpot_ms: token-weighted, sum of (last - first) over sum of (tokens - 1), over all requests together.
    goodput: requests per second that met every objective; good_share: their share of all, failures included.
    """

    requests: int
    failed: dict[str, int]
    seconds: float
    prompt_tokens: int
    output_tokens: int
    tokens_per_second: float
    requests_per_second: float
    goodput: float
    good_share: Estimate | None
    tpot_ms: Estimate | None
    percentiles: dict[str, dict[str, Estimate | None]]

    @property
    def failures(self) -> int:
        return sum(self.failed.values())


def is_good(record: RequestRecord, objectives: Objectives) -> bool:
    """Whether the request succeeded and met each threshold that is given."""
    if record.failure is not None:
        return False
    limits = [(record.ttft_ms, objectives.ttft_ms), (record.tpot_ms, objectives.tpot_ms)]
    limits.append((record.e2el_ms, objectives.e2el_ms))
    return all(limit is None or value is None or value <= limit for value, limit in limits)


def observed_tpot(records: Iterable[RequestRecord]) -> Observed:
    """Per-request TPOT in ms, weighted by the tokens after the first."""
    rows = [(r.tpot_ms, r.at, r.output_tokens) for r in records]
    kept = [(tpot, at, tokens - 1.0) for tpot, at, tokens in rows if tpot is not None and tokens is not None]
    return Observed.of([k[0] for k in kept], [k[1] for k in kept], [k[2] for k in kept])


def observed(records: Iterable[RequestRecord], metric: str) -> Observed:
    """`ttft_ms`, `tpot_ms`, `e2el_ms` of requests that have it, unweighted."""
    kept = [(value, r.at) for r in records if (value := getattr(r, metric)) is not None]
    return Observed.of([k[0] for k in kept], [k[1] for k in kept])


def group(records: list[RequestRecord], seconds: float, objectives: Objectives, chance: np.random.Generator) -> Group:
    """The figures of `records`, which were sent within `seconds`."""
    good = [float(is_good(r, objectives)) for r in records]
    tokens = sum(r.output_tokens or 0 for r in records)
    return Group(
        requests=len(records),
        failed=dict(Counter(r.failure for r in records if r.failure is not None).most_common()),
        seconds=seconds,
        prompt_tokens=sum(r.prompt_tokens or 0 for r in records),
        output_tokens=tokens,
        tokens_per_second=tokens / seconds,
        requests_per_second=len(records) / seconds,
        goodput=sum(good) / seconds,
        good_share=weighted_mean(Observed.of(good, [r.at for r in records]), chance),
        tpot_ms=weighted_mean(observed_tpot(records), chance),
        percentiles={
            **{
                name: {f"p{p}": percentile(values, p, chance) for p in PERCENTILES}
                for name in ("ttft", "tpot", "e2el")
                for values in [observed(records, f"{name}_ms")]
            },
            "itl": _plain_percentiles([gap for r in records for gap in r.itl_ms]),
        },
    )


def _plain_percentiles(values: list[float]) -> dict[str, Estimate | None]:
    """Without intervals: there are too many gaps, and they are too alike, for an interval to mean much."""
    if not values:
        return {f"p{p}": None for p in PERCENTILES}
    found = np.percentile(values, PERCENTILES)
    return {f"p{p}": Estimate(float(value)) for p, value in zip(PERCENTILES, found, strict=True)}


def group_dict(part: Group) -> dict[str, Any]:
    """A group as it stands in `summary.json`."""
    return {
        "requests": part.requests,
        "failed": part.failed,
        "seconds": round(part.seconds, 3),
        "promptTokens": part.prompt_tokens,
        "outputTokens": part.output_tokens,
        "tokensPerSecond": round(part.tokens_per_second, 3),
        "requestsPerSecond": round(part.requests_per_second, 4),
        "goodput": round(part.goodput, 4),
        "goodShare": as_dict(part.good_share),
        "tokenWeightedTpotMs": as_dict(part.tpot_ms),
        "percentilesMs": {
            name: {p: as_dict(value) for p, value in values.items()} for name, values in part.percentiles.items()
        },
    }
