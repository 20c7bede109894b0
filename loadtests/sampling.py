"""Reads the engines' metrics pages during a run: a time series, and counter differences per phase."""

from __future__ import annotations

import re
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx

from loadtests.records import CounterWindow, Event, RunInfo, Sample, Target, write_rows

POSITIONS: Final = 7
PAGE_SECONDS: Final = 5.0
WARMUP: Final = "warm-up"
DRAIN: Final = "drain"
RESTART: Final = "restart"
_FAMILIES: Final = {
    "vllm:spec_decode_num_drafts_total": "drafts",
    "vllm:spec_decode_num_draft_tokens_total": "draft_tokens",
    "vllm:spec_decode_num_accepted_tokens_total": "accepted_tokens",
    "vllm:generation_tokens_total": "generated_tokens",
    "vllm:iteration_tokens_total_count": "steps",
    "vllm:inter_token_latency_seconds_sum": "itl_seconds",
    "vllm:inter_token_latency_seconds_count": "itl_count",
}
_PER_POSITION: Final = "vllm:spec_decode_num_accepted_tokens_per_pos_total"
_LINE: Final = re.compile(
    rf"^({'|'.join(_FAMILIES)}|{_PER_POSITION})(?:{{([^}}]*)}})? ([0-9.eE+-]+|NaN|\+Inf)", re.MULTILINE
)
_POSITION: Final = re.compile(r'position="(\d+)"')


@dataclass(frozen=True, slots=True)
class Counters:
    """Totals over engines. values: by short name of the family. positions: shape (POSITIONS,)."""

    values: Mapping[str, float] = field(default_factory=dict)
    positions: tuple[float, ...] = (0.0,) * POSITIONS

    def get(self, name: str) -> float:
        return self.values.get(name, 0.0)


def parse_counters(page: str) -> Counters:
    """The counters of one metrics page, summed over its engines; a family that is missing counts nothing."""
    values: dict[str, float] = defaultdict(float)
    positions = [0.0] * POSITIONS
    for name, labels, value in _LINE.findall(page):
        if name == _PER_POSITION:
            found = _POSITION.search(labels)
            if found and int(found[1]) < POSITIONS:
                positions[int(found[1])] += float(value)
        else:
            values[_FAMILIES[name]] += float(value)
    return Counters(dict(values), tuple(positions))


def fell(before: Counters, after: Counters) -> bool:
    """Whether an engine began anew between two of its pages."""
    return any(after.get(name) < value for name, value in before.values.items())


def increase(before: Counters, after: Counters) -> Counters:
    """What was counted between two pages of one engine; after a restart (a value fell) all that it counts since."""
    if fell(before, after):
        return after
    values = {name: value - before.get(name) for name, value in after.values.items()}
    return Counters(values, tuple(b - a for a, b in zip(before.positions, after.positions, strict=True)))


def total(parts: list[Counters]) -> Counters:
    names = {name for part in parts for name in part.values}
    return Counters(
        {name: sum(part.get(name) for part in parts) for name in names},
        tuple(sum(part.positions[i] for part in parts) for i in range(POSITIONS)),
    )


def window(target: str, label: str, start: float, end: float, counted: Counters) -> CounterWindow:
    """The row of `counters.jsonl` for what was counted."""
    return CounterWindow(
        target=target,
        label=label,
        start=round(start, 3),
        end=round(end, 3),
        drafts=counted.get("drafts"),
        draft_tokens=counted.get("draft_tokens"),
        accepted_tokens=counted.get("accepted_tokens"),
        accepted_per_position=counted.positions,
        generated_tokens=counted.get("generated_tokens"),
        steps=counted.get("steps"),
    )


def sample(target: str, t: float, seconds: float, counted: Counters) -> Sample:
    """The row of `series.jsonl` for what was counted during the last `seconds`; None where nothing was."""
    drafts, steps, itl = counted.get("drafts"), counted.get("steps"), counted.get("itl_count")
    accepted = 1 + counted.get("accepted_tokens") / drafts if drafts else None
    step_ms = counted.get("itl_seconds") / itl * 1e3 if itl else None
    return Sample(
        t=round(t, 3),
        target=target,
        k=round(counted.get("draft_tokens") / drafts, 3) if drafts else (0.0 if itl else None),
        batch=round(drafts / steps, 3) if drafts and steps else None,
        accepted_length=round(accepted, 4) if accepted else None,
        tpot_ms=round(step_ms / (accepted or 1.0), 4) if step_ms else None,
        tokens_per_second=round(counted.get("generated_tokens") / seconds, 2),
    )


class Pages:
    """The last page of each engine of a target; a page that cannot be read counts nothing until it can again."""

    def __init__(self, target: Target) -> None:
        self._urls = target.metrics
        self._client = httpx.Client(timeout=PAGE_SECONDS)
        self._seen: dict[str, Counters] = {}
        self._anew: list[str] = []

    def counted(self) -> Counters:
        """What was counted since the last call, over all engines; nothing at the first."""
        return total([part for url in self._urls if (part := self._increase(url)) is not None])

    def began_anew(self) -> list[str]:
        """Pages whose counters fell since the last call: their engines restarted."""
        found, self._anew = self._anew, []
        return found

    def close(self) -> None:
        self._client.close()

    def _increase(self, url: str) -> Counters | None:
        try:
            answer = self._client.get(url)
            answer.raise_for_status()
        except httpx.HTTPError:
            return None
        now = parse_counters(answer.text)
        before, self._seen[url] = self._seen.get(url), now
        if before is None:
            return None
        if fell(before, now):
            self._anew.append(url)
        return increase(before, now)


class Sampler:
    """Writes `series.jsonl` and, at the end of each phase, a line of `counters.jsonl`, while it is open."""

    def __init__(self, info: RunInfo, folder: Path, every_seconds: float) -> None:
        self._info, self._folder, self._every = info, folder, every_seconds
        self._targets = [target for target in info.targets if target.metrics]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="sampler")

    def __enter__(self) -> Self:
        if self._targets:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._targets:
            self._thread.join()

    def _run(self) -> None:
        pages = {target.name: Pages(target) for target in self._targets}
        spans = _spans(self._info.plan)
        gathered: dict[str, list[Counters]] = {name: [] for name in pages}
        last = began = 0.0
        ending = False
        self._stop.wait(max(0.0, -self._now()))
        for page in pages.values():
            page.counted()
        while not ending:
            end, label = spans[0]
            ending = self._stop.wait(max(0.0, min(self._every, end - self._now())))
            now = self._now()
            for name, page in pages.items():
                counted = page.counted()
                gathered[name].append(counted)
                write_rows(self._folder / "series.jsonl", [sample(name, now, max(now - last, 1e-3), counted)])
                anew = [
                    Event(round(now, 3), f"{url} restarted: its counters fell", RESTART, name)
                    for url in page.began_anew()
                ]
                write_rows(self._folder / "events.jsonl", anew)
            last = now
            if ending or now >= end:
                rows = [window(name, label, began, now, total(parts)) for name, parts in gathered.items()]
                write_rows(self._folder / "counters.jsonl", rows)
                gathered, began = {name: [] for name in pages}, now
                spans = spans[1:] or spans
        for page in pages.values():
            page.close()

    def _now(self) -> float:
        return time.time() - self._info.started_at


def _spans(plan: Mapping[str, Any]) -> list[tuple[float, str]]:
    """End and label of each part of the run whose counters are told apart: warm-up, phases, drain."""
    warmup, begun = float(plan.get("warmupSeconds", 0.0)), 0.0
    found = [(warmup, WARMUP)] if warmup else []
    for phase in plan["phases"]:
        begun += float(phase["seconds"])
        if begun > warmup:
            found.append((begun, str(phase["name"])))
    return [*found, (float("inf"), DRAIN)]
