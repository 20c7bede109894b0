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


def _failed_percent(group: Group) -> Estimate | None:
    return Estimate(100.0 * group.failures / group.requests) if group.requests else None


def _good_percent(group: Group) -> Estimate | None:
    return _scaled(group.good_share, 100.0)


def _goodput(group: Group) -> Estimate | None:
    return _scaled(group.good_share, group.requests_per_second)


def _scaled(estimate: Estimate | None, factor: float) -> Estimate | None:
    if estimate is None:
        return None
    low, high = (None if end is None else end * factor for end in (estimate.low, estimate.high))
    return Estimate(estimate.value * factor, low, high)


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
    Metric("failed", "failed requests", "%", True, _failed_percent),
    Metric("good", "requests within targets", "%", False, _good_percent),
    Metric("goodput", "goodput", "req/s", False, _goodput),
    Metric("throughput", "output tokens", "tok/s", False, lambda group: Estimate(group.tokens_per_second)),
)
METRICS: Final[dict[str, Metric]] = {
    metric.name: metric
    for metric in (*_PLAIN, *(_percentile(n, p) for n in ("ttft", "tpot", "itl", "e2el") for p in PERCENTILES))
}
