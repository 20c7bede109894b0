"""Is the stopwatch right? Measured percentiles beside what a server with known latencies says it did."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from loadtests.plan import Plan, parse_plan
from loadtests.records import RequestRecord, Target, read_generator, read_requests
from loadtests.run import run
from loadtests.stubbed import StubProcess
from loadtests.summary import late_share

TOLERANCE: Final = 0.02
PERCENTILES: Final = (50, 90, 95, 99)
STUB: Final = ("--ttft-ms", "400", "--ttft-spread", "0.4", "--step-ms", "25", "--tokens-per-step", "2")


@dataclass(frozen=True, slots=True)
class Reading:
    """One percentile: measured by the generator, and true by the server's own stamps. Milliseconds."""

    metric: str
    percent: int
    measured: float
    true: float

    @property
    def error(self) -> float:
        """Relative, signed."""
        return self.measured / self.true - 1.0


@dataclass(frozen=True, slots=True)
class SelfTest:
    """late_share: of the generator's own actions. requests: that were compared."""

    readings: tuple[Reading, ...]
    requests: int
    failed: int
    late_share: float

    @property
    def worst(self) -> float:
        return max(abs(reading.error) for reading in self.readings)

    @property
    def passed(self) -> bool:
        return self.failed == 0 and self.worst <= TOLERANCE


def self_test(folder: Path, seconds: float = 12.0) -> SelfTest:
    """Run open and closed loops against the stub for `seconds`; records stay in `folder`."""
    with StubProcess(*STUB) as stub:
        run(_plan(seconds), [Target("stub", stub.url)], folder)
        stamps = {stamp["seed"]: stamp for stamp in stub.stamps()}
    records = read_requests(folder, "stub")
    report = read_generator(folder, "stub")
    done = [record for record in records if record.failure is None]
    readings = [
        Reading(metric, percent, *(float(np.percentile(side, percent)) for side in (_measured(done, metric), truth)))
        for metric, of in _TRUTH.items()
        for truth in [[of(stamp) for stamp in stamps.values()]]
        for percent in PERCENTILES
    ]
    late = 1.0 if report is None else late_share(report)
    return SelfTest(tuple(readings), len(done), len(records) - len(done), late)


def _plan(seconds: float) -> Plan:
    lengths = {"prompt": {"median": 40}, "output": {"median": 90, "spread": 0.3, "least": 40, "most": 150}}
    content = {
        "name": "self-test",
        "scenarios": {"chat": {"style": "chat", "domain": "chat", **lengths}},
        "phases": [
            {"name": "open loop", "seconds": seconds / 2, "load": {"rate": 12}},
            {"name": "closed loop", "seconds": seconds / 2, "load": {"users": 12}},
        ],
        "drainSeconds": 15,
    }
    return parse_plan(content, Path())


def _measured(records: Sequence[RequestRecord], metric: str) -> list[float]:
    return [value for record in records if (value := getattr(record, metric)) is not None]


_TRUTH: Final[Mapping[str, Callable[[dict[str, Any]], float]]] = {
    "ttft_ms": lambda s: (s["first"] - s["received"]) * 1e3,
    "tpot_ms": lambda s: (s["last"] - s["first"]) * 1e3 / (s["tokens"] - 1),
    "e2el_ms": lambda s: (s["last"] - s["received"]) * 1e3,
}
