"""Quantities and durations as Kubernetes writes them, and the types of the fields that hold them."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, WithJsonSchema

from specdec.api.rules import matching

_QUANTITY: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(n|u|m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei)?")
_DURATION: Final = re.compile(r"([1-9][0-9]*)(ms|s|m|h)")
_SUFFIXES: Final = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    **{letter: Decimal(1000) ** power for power, letter in enumerate("kMGTPE", start=1)},
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", start=1)},
}
_UNIT_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_quantity(text: str | int | float) -> Decimal:
    """The number that a quantity stands for: "920m" is 0.92. Raises ValueError for what is no quantity."""
    match = _QUANTITY.fullmatch(str(text))
    if match is None:
        raise ValueError(f"{text!r} is not a quantity such as 4, 500m or 16Gi")
    return Decimal(match[1]) * _SUFFIXES[match[2] or ""]


def parse_seconds(text: str) -> float:
    """Seconds of a duration such as "40ms" or "4h". Raises ValueError for what is no duration."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration such as 40ms, 90s, 30m or 4h")
    return int(match[1]) * _UNIT_SECONDS[match[2]]


def milli(value: float) -> str:
    """A quantity in thousandths: 2.93 is "2930m"."""
    return f"{round(value * 1000)}m"


def milliseconds(seconds: float) -> str:
    """A duration in milliseconds: 0.0384 is "38ms"."""
    return f"{round(seconds * 1000)}ms"


def _to_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Quantity = Annotated[
    str,
    BeforeValidator(_to_text),
    matching(_QUANTITY.pattern, "is not a quantity; write a number with an optional suffix, such as 4, 500m or 16Gi"),
    # a pattern, because the API server cannot bound the cost of a rule on what is a number or a text
    WithJsonSchema({"x-kubernetes-int-or-string": True, "pattern": f"^(?:{_QUANTITY.pattern})$"}),
]
"""An amount such as 4, "500m" or "16Gi"."""

Duration = Annotated[
    str,
    Field(max_length=16),
    matching(
        _DURATION.pattern,
        "is not a duration; write a whole number above 0 with one unit of ms, s, m or h, such as 40ms or 90m",
    ),
]
"""A length of time such as "40ms", "90s" or "4h"."""
