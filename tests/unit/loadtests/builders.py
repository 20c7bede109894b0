"""Builders that name only what matters to a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from loadtests.plan import Plan, parse_plan
from loadtests.records import GeneratorReport, RequestRecord, RunInfo, Target, requests_file, write_rows, write_run


def plan(*phases: dict[str, Any], **fields: Any) -> Plan:
    """A plan of `phases` (a name and ten seconds of chat at one request a second where nothing is said)."""
    whole = [{"name": f"phase {n}", "seconds": 10, "load": {"rate": 1}, **phase} for n, phase in enumerate(phases)]
    return parse_plan({"phases": whole or [{"name": "only", "seconds": 10, "load": {"rate": 1}}], **fields}, Path())


def record(at: float = 0.0, **fields: Any) -> RequestRecord:
    """A request of 11 tokens at 10 ms each that met no trouble."""
    known: dict[str, Any] = {
        "key": f"0-{at}",
        "phase": "only",
        "scenario": "chat",
        "domain": "chat",
        "at": at,
        "lag_ms": 0.0,
        "warmup": False,
    }
    if "failure" not in fields:
        known |= {"ttft_ms": 50.0, "tpot_ms": 10.0, "e2el_ms": 150.0, "itl_ms": (20.0,) * 5}
        known |= {"prompt_tokens": 20, "output_tokens": 11}
    return RequestRecord(**(known | fields))


def run_folder(
    folder: Path, runs: dict[str, list[RequestRecord]], *, baseline: str | None = None, **fields: Any
) -> Path:
    """A run folder as the generator leaves it; fields: of the plan."""
    whole = plan({"name": "only", "seconds": 60}, **fields)
    info = RunInfo(
        name="a run",
        started_at=1_700_000_000.0,
        targets=tuple(Target(name, f"http://{name}") for name in runs),
        plan=whole.model_dump(mode="json", by_alias=True, exclude_none=True),
        model="m",
        baseline=baseline,
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_run(folder, info)
    for name, records in runs.items():
        write_rows(requests_file(folder, name), records)
    return folder


def punctual(**fields: Any) -> GeneratorReport:
    known: dict[str, Any] = {
        "beats": 1000,
        "late_beats": 0,
        "sends": 100,
        "late_sends": 0,
        "worst_ms": 2.0,
        "cpu_seconds": 1.0,
        "seconds": 20.0,
        "memory_mib": 70,
    }
    return GeneratorReport(**(known | fields))
