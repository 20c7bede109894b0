"""Conditions on a run, for CI: `--fail-if 'p95 tpot > 40ms'`, and runs held against each other.

    [TARGET:] METRIC OP NUMBER[UNIT]          p95 ttft > 2s    failed > 1%    auto: throughput < 900
    [TARGET:] METRIC OP NUMBER% of RUN        goodput < 95% of other

`other` is the run named by `--against`; any other word is a target of the same run. A condition that compares holds
only when the whole 95 % interval of the ratio is on the wrong side, so that chance alone fails no build.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from loadtests.metrics import METRICS, Metric
from loadtests.stats import Estimate, ratio_percent
from loadtests.summary import Summary, TargetSummary

OTHER_RUN: Final = "other"
_UNITS: Final = {"": 1.0, "ms": 1.0, "s": 1000.0, "%": 1.0}
_FORM: Final = re.compile(
    r"^\s*(?:(?P<target>[\w.-]+)\s*:)?\s*(?P<metric>(?:p\d+\s+)?[a-z0-9]+)\s*(?P<op>[<>]=?)\s*"
    r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|%)?(?:\s+of\s+(?P<of>[\w.-]+))?\s*$"
)


class ConditionError(ValueError):
    """A condition that is not of the documented form, or that names what the run does not have."""


@dataclass(frozen=True, slots=True)
class Condition:
    """of: a target of the run or OTHER_RUN; then `number` is percent of that one's figure."""

    text: str
    target: str | None
    metric: Metric
    above: bool
    or_equal: bool
    number: float
    of: str | None

    def crossed(self, value: float) -> bool:
        if self.or_equal and value == self.number:
            return True
        return value > self.number if self.above else value < self.number


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of a condition at one target. failed: the condition held, so the run does not pass."""

    target: str
    condition: str
    failed: bool
    statement: str


def parse_condition(text: str) -> Condition:
    """Raises ConditionError, which names the forms and the metrics."""
    found = _FORM.match(text)
    name = " ".join(found["metric"].split()) if found else ""
    if found is None or name not in METRICS:
        raise ConditionError(
            f"cannot read the condition {text!r}; write for example 'p95 tpot > 40ms', 'failed > 1%' or "
            f"'goodput < 95% of other'. Metrics: {', '.join(METRICS)}"
        )
    metric, unit = METRICS[name], found["unit"] or ""
    if found["of"] and unit != "%":
        raise ConditionError(f"{text!r} compares, so its number must be a percentage: 'goodput < 95% of other'")
    if not found["of"] and (unit == "%") != (metric.unit == "%") and unit:
        raise ConditionError(f"{text!r}: {name} is measured in {metric.unit}")
    return Condition(
        text=text.strip(),
        target=found["target"],
        metric=metric,
        above=found["op"].startswith(">"),
        or_equal=found["op"].endswith("="),
        number=float(found["number"]) * _UNITS[unit],
        of=found["of"],
    )


def judge(conditions: list[Condition], run: Summary, other: Summary | None = None) -> list[Finding]:
    """One finding per condition and target. Raises ConditionError for a target or run that is not there."""
    return [finding for condition in conditions for finding in _judge_one(condition, run, other)]


def _judge_one(condition: Condition, run: Summary, other: Summary | None) -> Iterator[Finding]:
    if condition.target is not None and condition.target not in run.targets:
        raise ConditionError(f"{condition.text!r} names no target of this run; there are {', '.join(run.targets)}")
    names = [condition.target] if condition.target else [name for name in run.targets if name != condition.of]
    for name in names:
        value = condition.metric.of(run.targets[name].overall)
        if value is None:
            yield Finding(name, condition.text, True, f"{name}: no {condition.metric.title}, because no request ended")
        elif condition.of is None:
            yield _against_number(condition, name, value)
        else:
            yield _against_run(condition, name, value, _reference(condition, name, run, other))


def _reference(condition: Condition, name: str, run: Summary, other: Summary | None) -> TargetSummary:
    if condition.of != OTHER_RUN:
        if condition.of not in run.targets:
            raise ConditionError(f"{condition.text!r}: {condition.of!r} is neither a target of this run nor 'other'")
        return run.targets[condition.of]
    if other is None:
        raise ConditionError(f"{condition.text!r} compares with another run; name its folder with --against")
    if name not in other.targets and len(other.targets) > 1:
        raise ConditionError(f"the other run has no target {name!r}; it has {', '.join(other.targets)}")
    return other.targets.get(name) or next(iter(other.targets.values()))


def _against_number(condition: Condition, name: str, value: Estimate) -> Finding:
    failed = condition.crossed(value.value)
    said = f"{name}: {condition.metric.title} is {show(value, condition.metric.unit)}"
    return Finding(name, condition.text, failed, said)


def _against_run(condition: Condition, name: str, value: Estimate, reference: TargetSummary) -> Finding:
    old = condition.metric.of(reference.overall)
    if old is None:
        return Finding(name, condition.text, True, f"{name}: nothing to compare with in {condition.of}")
    share = ratio_percent(value, old)
    if share is None:
        return _against_nothing(condition, name, value)
    near = share.low if condition.above else share.high
    failed = condition.crossed(share.value) and near is not None and condition.crossed(near)
    said = f"{name}: {condition.metric.title} is {show(share, '%')} of {condition.of}"
    if condition.crossed(share.value) and not failed:
        said += ", which chance could explain" if near is not None else ", a run too short for an interval"
    return Finding(name, condition.text, failed, said)


def _against_nothing(condition: Condition, name: str, value: Estimate) -> Finding:
    """The other figure is 0, so there is no ratio: anything above it is more than any percentage of it."""
    more = value.value > 0 and (value.low is None or value.low > 0)
    said = f"{name}: {condition.metric.title} is {show(value, condition.metric.unit)}, against 0 in {condition.of}"
    return Finding(name, condition.text, condition.above and more, said)


def show(estimate: Estimate, unit: str) -> str:
    """`12.3 ms (11.9 to 12.8)`."""
    text = f"{estimate.value:.4g} {unit}".strip()
    if estimate.low is None or estimate.high is None:
        return text
    return f"{text} ({estimate.low:.4g} to {estimate.high:.4g})"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure of two runs. change: percent, negative is lower. None: not measured in one of them."""

    target: str
    metric: Metric
    new: Estimate | None
    old: Estimate | None
    change: Estimate | None
    statement: str


def compare(new: Summary, old: Summary) -> list[Comparison]:
    """Every metric of each target that both runs have (or of the only target of each)."""
    pairs = [(name, old.targets[name]) for name in new.targets if name in old.targets]
    if not pairs and len(new.targets) == len(old.targets) == 1:
        pairs = [(next(iter(new.targets)), next(iter(old.targets.values())))]
    return [_compared(name, metric, new.targets[name], there) for name, there in pairs for metric in METRICS.values()]


def _compared(name: str, metric: Metric, new: TargetSummary, old: TargetSummary) -> Comparison:
    a, b = metric.of(new.overall), metric.of(old.overall)
    share = None if a is None or b is None else ratio_percent(a, b)
    if share is None:
        return Comparison(name, metric, a, b, None, "not comparable")
    ends = [None if end is None else end - 100.0 for end in (share.low, share.high)]
    change = Estimate(share.value - 100.0, ends[0], ends[1])
    return Comparison(name, metric, a, b, change, _significance(metric, change))


def _significance(metric: Metric, change: Estimate) -> str:
    if change.low is None or change.high is None:
        return "no interval, nothing can be said about chance"
    if change.low <= 0.0 <= change.high:
        return "no significant difference (95 % interval holds 0)"
    better = (change.value < 0) == metric.lower_is_better
    return f"significantly {'better' if better else 'worse'} (95 % interval excludes 0)"
