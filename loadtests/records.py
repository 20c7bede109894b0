"""The files of a run folder: one record per request as JSONL, and what stands beside them.

| file | holds |
|---|---|
| `run.json` | `RunInfo`: format, name, start, targets, plan |
| `requests-TARGET.jsonl` | one `RequestRecord` per line |
| `generator-TARGET.json` | `GeneratorReport`: was the generator on time |
| `series.jsonl` | one `Sample` per line (optional) |
| `events.jsonl` | one `Event` per line (optional) |
| `counters.jsonl` | one `CounterWindow` per line: differences of the engine's counters (optional) |

All times are seconds since the start of the run unless a name says otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, TypeVar

FORMAT: Final = "specdec.loadtest/1"


class RunFolderError(ValueError):
    """A run folder that is missing, incomplete or of another format."""


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request. Milliseconds where `_ms`; None: not known, because it failed before.

    key: equal for the same request at another target. at: sent, seconds since the start.
    lag_ms: how much later than planned it was sent (0 in a closed loop).
    failure: a `failures.Kind`, None when it succeeded.
    """

    key: str
    phase: str
    scenario: str
    domain: str
    at: float
    lag_ms: float
    warmup: bool
    failure: str | None = None
    detail: str | None = None
    status: int | None = None
    ttft_ms: float | None = None
    tpot_ms: float | None = None
    e2el_ms: float | None = None
    itl_ms: tuple[float, ...] = ()
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    chunk_tokens: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """What an engine or the operator showed at one moment; `t` seconds since the start."""

    t: float
    target: str
    k: float | None = None
    batch: float | None = None
    accepted_length: float | None = None
    tpot_ms: float | None = None
    tokens_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """Something to mark on the time axis: a change of K, a restart, a scale-up. target None: concerns all."""

    t: float
    text: str
    kind: str = "event"
    target: str | None = None


@dataclass(frozen=True, slots=True)
class CounterWindow:
    """Differences of an engine's counters between `start` and `end`; label: phase or arm.

    accepted_per_position: shape (positions,), drafts accepted up to and including each position.
    """

    target: str
    label: str
    start: float
    end: float
    drafts: float
    draft_tokens: float
    accepted_tokens: float
    accepted_per_position: tuple[float, ...]
    generated_tokens: float
    steps: float


@dataclass(frozen=True, slots=True)
class GeneratorReport:
    """How punctual the generator was.

    beats: times its event loop was asked to wake; late_beats: times it woke more than the plan's lateMs late.
    sends, late_sends: the same for requests of the open loop. worst_ms: the largest of all delays.
    """

    beats: int
    late_beats: int
    sends: int
    late_sends: int
    worst_ms: float
    cpu_seconds: float
    seconds: float
    memory_mib: int


@dataclass(frozen=True, slots=True)
class Target:
    """An OpenAI-compatible endpoint. metrics: pages of its engines, one URL per pod."""

    name: str
    url: str
    metrics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunInfo:
    """started_at: Unix time of second 0. baseline: the target that the others are compared with."""

    name: str
    started_at: float
    targets: tuple[Target, ...]
    plan: dict[str, Any]
    model: str
    baseline: str | None = None
    interrupted: bool = False
    format: str = FORMAT


Row = TypeVar("Row", RequestRecord, Sample, Event, CounterWindow)


def write_rows(path: Path, rows: Iterable[RequestRecord | Sample | Event | CounterWindow]) -> None:
    """Append rows as JSON lines."""
    with path.open("a") as file:
        file.writelines(json_line(row) for row in rows)


def json_line(row: RequestRecord | Sample | Event | CounterWindow) -> str:
    """One line with its end; None and empty fields are left out."""
    content = {name: value for name, value in asdict(row).items() if value not in (None, ())}
    return json.dumps(content, separators=(",", ":"), default=str) + "\n"


def read_rows(path: Path, kind: type[Row]) -> Iterator[Row]:
    """Rows of a file, none when it does not exist. A half-written last line (a run that was cut off) is left out."""
    if not path.exists():
        return
    names = {item.name for item in fields(kind)}
    with path.open() as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith("\n"):
                return
            try:
                content = {name: _frozen(value) for name, value in json.loads(line).items() if name in names}
                yield kind(**content)
            except (ValueError, TypeError, AttributeError) as error:
                raise RunFolderError(f"{path}, line {number}: {error}") from error


def write_json(path: Path, content: Any) -> None:
    """Write whole or not at all."""
    unfinished = path.with_suffix(path.suffix + ".part")
    unfinished.write_text(json.dumps(content, indent=1) + "\n")
    unfinished.replace(path)


def claim(path: Path, state: dict[str, Any], parts: str) -> None:
    """Take the folder of `path` for the work that `state` describes. Raises RunFolderError when it holds other work.

    parts: pattern of what finished parts of the work leave in the folder; without any there is nothing to lose.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    state = json.loads(json.dumps(state))
    if path.exists() and any(path.parent.glob(parts)):
        differing = sorted(name for name, value in state.items() if read_json(path).get(name) != value)
        if differing:
            raise RunFolderError(
                f"{path.parent} holds unfinished or finished work with another {', '.join(differing)}; "
                "name another folder with --out"
            )
    write_json(path, state)


def write_run(folder: Path, info: RunInfo) -> None:
    write_json(folder / "run.json", asdict(info))


def read_run(folder: Path) -> RunInfo:
    """Raises RunFolderError."""
    content = read_json(folder / "run.json")
    if content.get("format") != FORMAT:
        raise RunFolderError(f"{folder / 'run.json'} has format {content.get('format')!r}, expected {FORMAT!r}")
    targets = tuple(Target(t["name"], t["url"], tuple(t.get("metrics", ()))) for t in content["targets"])
    return RunInfo(**{**content, "targets": targets})


def read_generator(folder: Path, target: str) -> GeneratorReport | None:
    path = folder / f"generator-{target}.json"
    return GeneratorReport(**read_json(path)) if path.exists() else None


def requests_file(folder: Path, target: str) -> Path:
    return folder / f"requests-{target}.jsonl"


def read_requests(folder: Path, target: str) -> tuple[RequestRecord, ...]:
    """All records of a target, in order of the time they were sent."""
    return tuple(sorted(read_rows(requests_file(folder, target), RequestRecord), key=lambda record: record.at))


def read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise RunFolderError(f"{path} is missing: {path.parent} is not the folder of a load test") from error
    except ValueError as error:
        raise RunFolderError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise RunFolderError(f"{path} must hold a JSON object")
    return content


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
