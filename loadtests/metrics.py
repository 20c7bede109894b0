"""The figures that users name: in `--fail-if`, in comparisons and in the report's tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from loadtests.groups import PERCENTILES, Group
from loadtests.stats import Estimate


@dataclass(frozen=True, slots=True)
class Metric:
    """lower_is_better: which way is up. of: None when the group has no such figure (no request got that far)."""

    name: str
    title: str
    unit: str
    lower_is_better: bool
    of: Callable[[Group], Estimate | None]


def _percent(share: Estimate | None) -> Estimate | None:
    return None if share is None else share.scaled(100.0)


def _percentile(name: str, percent: int) -> Metric:
    return Metric(
        name=f"p{percent} {name}",
        title=f"{name.upper()} p{percent}",
        unit="ms",
        lower_is_better=True,
        of=lambda group: group.percentiles[name][f"p{percent}"],
    )


_PLAIN: Final = (
    Metric("tpot", "TPOT, token-weighted", "ms", True, lambda group: group.tpot_ms),
    Metric("failed", "failed requests", "%", True, lambda group: _percent(group.failed_share)),
    Metric("good", "requests within targets", "%", False, lambda group: _percent(group.good_share)),
    Metric("goodput", "goodput", "req/s", False, lambda group: group.goodput if group.requests else None),
    Metric("accepted", "tokens per chunk", "", False, lambda group: group.chunk_length),
    Metric("throughput", "output tokens", "tok/s", False, lambda group: group.tokens_per_second),
)
METRICS: Final[dict[str, Metric]] = {
    metric.name: metric
    for metric in (*_PLAIN, *(_percentile(n, p) for n in ("ttft", "tpot", "itl", "e2el") for p in PERCENTILES))
}
