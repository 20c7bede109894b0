"""What the plots show, worked out from the files of a run: time series, distributions, shares."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadtests.records import Event, RequestRecord, Sample, read_requests, read_rows
from loadtests.summary import Summary, summarise

Floats = NDArray[np.float64]
_WINDOWS: Final = 60
_SHORTEST_WINDOW_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Curve:
    """at: shape (n,), seconds since the start. values: shape (n,), NaN where nothing was seen."""

    at: Floats
    values: Floats

    @property
    def points(self) -> int:
        return int(np.isfinite(self.values).sum())


@dataclass(frozen=True, slots=True)
class Phase:
    name: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class View:
    """All that a report draws. chunk_tokens: per target, output tokens per streamed chunk -> how often."""

    summary: Summary
    records: Mapping[str, tuple[RequestRecord, ...]]
    samples: Mapping[str, tuple[Sample, ...]]
    events: tuple[Event, ...]
    phases: tuple[Phase, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.summary.targets)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of the phases; those of a sweep come again in each block."""
        return tuple(dict.fromkeys(phase.name for phase in self.phases))

    @property
    def blocks(self) -> int:
        return len(self.phases) // len(self.kinds)

    @property
    def seconds(self) -> float:
        return self.phases[-1].end

    def series(self, target: str, field: str) -> Curve:
        """One column of the samples; `k`, `batch`, `accepted_length`, `tpot_ms`, `tokens_per_second`."""
        rows = [(s.t, value) for s in self.samples.get(target, ()) if (value := getattr(s, field)) is not None]
        return Curve(np.array([r[0] for r in rows]), np.array([r[1] for r in rows], dtype=np.float64))


def read_view(folder: Path) -> View:
    """Raises RunFolderError."""
    summary = summarise(folder)
    samples: dict[str, list[Sample]] = defaultdict(list)
    for sample in read_rows(folder / "series.jsonl", Sample):
        samples[sample.target].append(sample)
    return View(
        summary=summary,
        records={name: read_requests(folder, name) for name in summary.targets},
        samples={name: tuple(sorted(rows, key=lambda s: s.t)) for name, rows in samples.items()},
        events=tuple(sorted(read_rows(folder / "events.jsonl", Event), key=lambda e: e.t)),
        phases=_phases(summary),
    )


def _phases(summary: Summary) -> tuple[Phase, ...]:
    found, begun = [], 0.0
    for phase in summary.info.plan["phases"]:
        found.append(Phase(phase["name"], begun, begun + phase["seconds"]))
        begun = found[-1].end
    return tuple(found)


def window_seconds(seconds: float) -> float:
    """Width of the windows over which curves average, so that a plot shows about sixty points."""
    return max(_SHORTEST_WINDOW_SECONDS, seconds / _WINDOWS)


def tpot_curve(view: View, target: str) -> Curve:
    """Token-weighted TPOT in ms of the requests whose decoding was half-way in each window."""
    rows = [
        (r.at + ((r.ttft_ms or 0.0) + r.e2el_ms) / 2e3, r.tpot_ms, r.output_tokens - 1)
        for r in view.records[target]
        if r.tpot_ms is not None and r.e2el_ms is not None and r.output_tokens is not None
    ]
    at, values, weights = (np.array([row[i] for row in rows], dtype=np.float64) for i in range(3))
    edges = _edges(view.seconds)
    total, _ = np.histogram(at, edges, weights=values * weights)
    heft, _ = np.histogram(at, edges, weights=weights)
    return Curve((edges[1:] + edges[:-1]) / 2, np.divide(total, heft, out=np.full_like(total, np.nan), where=heft > 0))


def in_flight_curve(view: View, target: str) -> Curve:
    """Requests under way, averaged over each window."""
    edges = _edges(view.seconds)
    busy = np.zeros(edges.size - 1)
    for record in view.records[target]:
        if record.e2el_ms is None:
            continue
        start, end = record.at, record.at + record.e2el_ms / 1e3
        busy += np.clip(np.minimum(end, edges[1:]) - np.maximum(start, edges[:-1]), 0.0, None)
    return Curve((edges[1:] + edges[:-1]) / 2, busy / np.diff(edges))


def _edges(seconds: float) -> Floats:
    count = max(1, round(seconds / window_seconds(seconds)))
    return np.linspace(0.0, seconds, count + 1)


def latencies(view: View, target: str, metric: str) -> Floats:
    """Sorted values of a metric over the requests that count."""
    rows = (getattr(r, metric) for r in view.records[target] if not r.warmup)
    return np.sort(np.array([value for value in rows if value is not None], dtype=np.float64))


def tokens_per_chunk(view: View, target: str, domain: str | None = None) -> tuple[dict[int, float], bool]:
    """Share of streamed chunks by the tokens they carried, and whether that is exact.

    Exact where the server reports usage per chunk. Else per request: its mean, tokens after the first over the gaps,
    rounded; each request counts as often as it had gaps. An engine sends a step's accepted tokens as one chunk.
    domain: of the requests to count; all when None.
    """
    exact: Counter[int] = Counter()
    rough: Counter[int] = Counter()
    for record in view.records[target]:
        if record.warmup or domain not in {None, record.domain}:
            continue
        exact.update(record.chunk_tokens[1:])
        if record.itl_ms and record.output_tokens:
            rough[round((record.output_tokens - 1) / len(record.itl_ms))] += len(record.itl_ms)
    counted = exact or rough
    return {n: counted[n] / counted.total() for n in sorted(counted)}, bool(exact)


def acceptance_of_requests(view: View, target: str) -> Floats:
    """Sorted tokens per chunk after the first, one value per request that counts."""
    kept = [r for r in view.records[target] if not r.warmup and r.itl_ms and r.output_tokens]
    return np.sort(np.array([((r.output_tokens or 0) - 1) / len(r.itl_ms) for r in kept], dtype=np.float64))
