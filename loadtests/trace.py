"""Trace files: one request per line, as CSV with a header or as JSONL.

| column | unit | aliases |
|---|---|---|
| `arrival_seconds` | since the first request | `Timestamp`, `TIMESTAMP` (or a date); `timestamp`, `timestamp_ms`: ms |
| `prompt_tokens` | tokens | `ContextTokens`, `Request tokens`, `input_length` |
| `output_tokens` | tokens | `GeneratedTokens`, `Response tokens`, `output_length` |
| `domain` | a scenario's name, optional (`chat`) | |

The aliases are the column names of the public Azure, BurstGPT and Mooncake traces.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from loadtests.plan import PlanError

# seconds per unit of the column; Mooncake's `timestamp` counts milliseconds
_ARRIVAL: Final = {
    "arrival_seconds": 1.0,
    "timestamp": 0.001,
    "timestamp_ms": 0.001,
    "Timestamp": 1.0,
    "TIMESTAMP": 1.0,
}
_PROMPT: Final = ("prompt_tokens", "ContextTokens", "Request tokens", "input_length")
_OUTPUT: Final = ("output_tokens", "GeneratedTokens", "Response tokens", "output_length")


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """One line of a trace; `arrival_seconds` counts from the trace's first request."""

    arrival_seconds: float
    prompt_tokens: int
    output_tokens: int
    domain: str


def read_trace(path: Path) -> tuple[TraceRequest, ...]:
    """All requests in order of arrival. Raises PlanError naming file and line."""
    found = []
    try:
        for line, row in enumerate(_rows(path), start=1):
            try:
                found.append(_request(row))
            except (KeyError, ValueError, TypeError) as error:
                raise PlanError(f"{path}, request {line}: {error}; see docs/loadtests.md, 'Traces'") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, csv.Error) as error:
        raise PlanError(f"cannot read the trace {path}: {error}") from error
    if not found:
        raise PlanError(f"the trace {path} holds no request")
    found.sort(key=lambda request: request.arrival_seconds)
    first = found[0].arrival_seconds
    return tuple(TraceRequest(r.arrival_seconds - first, r.prompt_tokens, r.output_tokens, r.domain) for r in found)


def _rows(path: Path) -> Iterator[Mapping[str, object]]:
    with path.open(newline="") as file:
        if path.suffix == ".csv":
            yield from csv.DictReader(file)
        else:
            yield from (json.loads(line) for line in file if line.strip())


def _request(row: Mapping[str, object]) -> TraceRequest:
    column = next((name for name in _ARRIVAL if row.get(name) is not None), None)
    if column is None:
        raise KeyError(f"no arrival column; one of {', '.join(_ARRIVAL)} is needed")
    return TraceRequest(
        arrival_seconds=_seconds(str(row[column]), _ARRIVAL[column]),
        prompt_tokens=_tokens(row, _PROMPT),
        output_tokens=_tokens(row, _OUTPUT),
        domain=str(row.get("domain") or "chat"),
    )


def _seconds(value: str, unit: float) -> float:
    try:
        return float(value) * unit
    except ValueError:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _tokens(row: Mapping[str, object], names: tuple[str, ...]) -> int:
    column = next((name for name in names if row.get(name) is not None), None)
    if column is None:
        raise KeyError(f"no column of {', '.join(names)}")
    return max(1, round(float(str(row[column]))))
