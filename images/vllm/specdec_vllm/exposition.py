"""The exact counters as metric families on vLLM's own /metrics page (docs/engine-contract.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from specdec_vllm.counters import PHASES, CellCounts, Snapshot, batch_labels

CELL_LABELS: Final = ("model_name", "engine", "k", "batch", "phase")
TOTALS: Final[Mapping[str, tuple[str, Callable[[CellCounts], float]]]] = {
    "steps": ("Engine steps.", lambda cell: cell.steps),
    "step_seconds": ("Wall time of engine steps.", lambda cell: cell.step_seconds),
    "step_requests": ("Requests scheduled, summed over steps.", lambda cell: cell.requests),
    "step_prefill_tokens": ("Prompt tokens computed in steps.", lambda cell: cell.prefill_tokens),
    "drafts": ("Drafts verified.", lambda cell: cell.drafts),
    "generated_tokens": ("Tokens that reached requests.", lambda cell: cell.generated_tokens),
}
POSITIONS: Final[Mapping[str, tuple[str, Callable[[CellCounts], tuple[float, ...]]]]] = {
    "verified_tokens": ("Drafts whose token at this position was verified.", lambda cell: cell.verified),
    "accepted_tokens": ("Drafts accepted up to and including this position.", lambda cell: cell.accepted),
}
BATCH: Final = batch_labels()


class ExactCounters(Collector):
    """Reads every engine's counters at each scrape. read: engine label -> its snapshot now."""

    def __init__(self, model_name: str, read: Callable[[], Mapping[str, Snapshot]]) -> None:
        self._model_name, self._read = model_name, read

    def describe(self) -> Iterable[Metric]:
        """Registered without a scrape: the names are known."""
        return self._families({})

    def collect(self) -> Iterable[Metric]:
        return self._families(self._read())

    def _families(self, snapshots: Mapping[str, Snapshot]) -> Iterator[Metric]:
        rows = [(self._labels(engine, c), c) for engine, snapshot in snapshots.items() for c in snapshot.cells]
        for name, (text, value) in TOTALS.items():
            family = CounterMetricFamily(f"specdec:{name}", text, labels=CELL_LABELS)
            for labels, cell in rows:
                if name != "step_prefill_tokens" or cell.mixed:
                    family.add_metric(labels, value(cell))
            yield family
        for name, (text, values) in POSITIONS.items():
            family = CounterMetricFamily(f"specdec:{name}", text, labels=(*CELL_LABELS, "position"))
            for labels, cell in rows:
                for position, verified in enumerate(cell.verified):
                    if verified:
                        family.add_metric((*labels, str(position)), values(cell)[position])
            yield family
        yield from self._gauges(snapshots)

    def _gauges(self, snapshots: Mapping[str, Snapshot]) -> Iterator[Metric]:
        revision = GaugeMetricFamily("specdec:schedule_revision", "Schedule revision in force.", labels=("engine",))
        changed = GaugeMetricFamily(
            "specdec:schedule_changed_timestamp_seconds", "Unix time of its last change, 0 before.", labels=("engine",)
        )
        for engine, snapshot in snapshots.items():
            revision.add_metric((engine,), snapshot.revision)
            changed.add_metric((engine,), snapshot.changed_at)
        return iter((revision, changed))

    def _labels(self, engine: str, cell: CellCounts) -> tuple[str, ...]:
        return (self._model_name, engine, str(cell.k), BATCH[cell.bucket], PHASES[cell.mixed])
