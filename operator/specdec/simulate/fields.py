"""What each field of a workload file may hold, in words for whoever wrote something else."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

SHOWN: Final = 60  # characters of a value that a message repeats


@dataclass(frozen=True, slots=True)
class Rule:
    """what: ends the sentence "it must be ..."."""

    what: str
    holds: Callable[[Any], bool]


def refused(document: Mapping[str, Any], rules: Mapping[str, Rule], within: str = "") -> str | None:
    """The first field that is unknown or that its rule refuses, in words; None where all hold."""
    for name, value in document.items():
        if name not in rules:
            return f"unknown field '{within}{name}'; known are {', '.join(sorted(rules))}"
        if not rules[name].holds(value):
            return f"{within}{name} is {_shown(value)}; it must be {rules[name].what}"
    return None


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _not_negative(value: Any) -> bool:
    return _number(value) and value >= 0


def _above_zero(value: Any) -> bool:
    return _number(value) and value > 0


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 0


def _each_above_zero(value: Any) -> bool:
    return _list(value) and all(map(_above_zero, value))


def _some_above_zero(value: Any) -> bool:
    return _list(value) and all(map(_not_negative, value)) and any(value)


def _mean_and_spread(least: float) -> Callable[[Any], bool]:
    return lambda value: _list(value) and len(value) == 2 and all(map(_not_negative, value)) and value[0] > least


def _knots(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Pairs of an hour and what `holds`."""

    def each(knot: Any) -> bool:
        return _list(knot) and len(knot) == 2 and _not_negative(knot[0]) and holds(knot[1])

    return lambda value: _list(value) and all(map(each, value))


def _shares(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(_not_negative, value.values()))


def _or_null(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or holds(value)


TEXT: Final = Rule("text", lambda value: isinstance(value, str))
FLAG: Final = Rule("true or false", _flag)
ABOVE_ZERO: Final = Rule("a number above zero", _above_zero)
NOT_NEGATIVE: Final = Rule("a number of zero or more", _not_negative)
COUNT: Final = Rule("a whole number of 1 or more, without a decimal point", _count)
PER_REPLICA: Final = Rule("a list of numbers above zero, one per replica", _each_above_zero)
SHARES: Final = Rule("a list of numbers of zero or more, one per replica and not all zero", _some_above_zero)

WORKLOAD: Final[Mapping[str, Rule]] = {
    "name": Rule("text that is not empty", lambda value: isinstance(value, str) and value != ""),
    "what": TEXT,
    "seconds": ABOVE_ZERO,
    "load": Rule("a list of [hour, load], both numbers of zero or more", _knots(_not_negative)),
    "mix": Rule("a list of [hour, {profile: share}], hour and shares numbers of zero or more", _knots(_shares)),
    "relative": FLAG,
    "period_hours": ABOVE_ZERO,
    "mix_period_hours": Rule("a number above zero, or null where the mix does not repeat", _or_null(_above_zero)),
    "burst_cv": ABOVE_ZERO,
    "output_tokens": Rule("[mean, coefficient of variation], the mean above 1", _mean_and_spread(1.0)),
    "prompt_tokens": Rule("[mean, coefficient of variation], the mean above zero", _mean_and_spread(0.0)),
    "prefill_ms_per_token": NOT_NEGATIVE,
    "prefill_chunk": ABOVE_ZERO,
    "request_spread": NOT_NEGATIVE,
    "balance": SHARES,
    "slower": PER_REPLICA,
    "max_num_seqs": COUNT,
    "graph_capture_tokens": Rule("a whole number of 1 or more, or null where there is no limit", _or_null(_count)),
    "eager_ms": NOT_NEGATIVE,
    "step_noise": NOT_NEGATIVE,
    "restart_seconds": NOT_NEGATIVE,
    "slo_tpot_ms": ABOVE_ZERO,
    "slo_ttft_seconds": ABOVE_ZERO,
    "scrape": Rule("an object", lambda value: isinstance(value, Mapping)),
    "drift_at_hours": Rule("a number of zero or more, or null where nothing drifts", _or_null(_not_negative)),
    "prior_is_truth": FLAG,
}
SCRAPE: Final[Mapping[str, Rule]] = {
    "interval": ABOVE_ZERO,
    "delay": NOT_NEGATIVE,
    "lost": Rule("a share from 0 to 1", lambda value: _number(value) and 0 <= value <= 1),
    "resets_per_day": NOT_NEGATIVE,
}
