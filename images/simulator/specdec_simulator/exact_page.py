"""The families beside vLLM's own: the exact counters of docs/engine-contract.md, and the clock of the simulation."""

from __future__ import annotations

from dataclasses import dataclass

from specdec_simulator.buckets import BATCH_LABELS
from specdec_simulator.counters import CellKey, Counters, at_least
from specdec_simulator.exposition import Page, Samples

ENGINE_LABEL = 'engine="0"'


@dataclass(frozen=True, slots=True)
class ClockState:
    """How well the process keeps up with its own clock, seconds; see `clock`."""

    lag: float
    max_lag: float
    slipped: float


def exact_families(labels: str, counters: Counters, revision: int, changed_at: float) -> bytes:
    """changed_at: Unix time, 0 before the first change. labels: of the model and the engine."""
    page = Page(labels, counters.created)
    cells = [(_cell_labels(key), key[0], counts) for key, counts in sorted(counters.cells.items())]
    for name, help_text, attribute in (
        ("steps", "Engine steps.", "steps"),
        ("step_seconds", "Wall time of engine steps.", "seconds"),
        ("step_requests", "Requests scheduled, summed over steps.", "requests"),
        ("step_prefill_tokens", "Prompt tokens computed.", "prefill_tokens"),
        ("generated_tokens", "Tokens that reached requests.", "generated_tokens"),
    ):
        _count(page, name, help_text, [(cell, getattr(counts, attribute)) for cell, _, counts in cells])
    drafts = [(cell, k, counts.accepted) for cell, k, counts in cells if k]
    _count(page, "drafts", "Drafts verified.", [(cell, sum(accepted)) for cell, _, accepted in drafts])
    verified = [(f'{cell},position="{p}"', sum(accepted)) for cell, k, accepted in drafts for p in range(k)]
    _count(page, "verified_tokens", "Drafts whose token at this position was verified.", verified)
    reached = [
        (f'{cell},position="{p}"', count)
        for cell, k, accepted in drafts
        for p, count in enumerate(at_least(accepted)[:k])
    ]
    _count(page, "accepted_tokens", "Drafts whose tokens up to this position were all accepted.", reached)
    return page.text() + _schedule(counters, revision, changed_at)


def _count(page: Page, name: str, help_text: str, values: Samples) -> None:
    page.counter(f"specdec:{name}", help_text, values, created=False)


def _schedule(counters: Counters, revision: int, changed_at: float) -> bytes:
    page = Page(ENGINE_LABEL, counters.created)
    page.gauge("specdec:schedule_revision", "Revision of the schedule in force, 0 for that of the start.", revision)
    help_text = "Unix time of the last change of the schedule, 0 before the first."
    page.gauge("specdec:schedule_changed_timestamp_seconds", help_text, changed_at)
    return page.text()


def _cell_labels(key: CellKey) -> str:
    k, bucket, mixed = key
    return f'k="{k}",batch="{BATCH_LABELS[bucket]}",phase="{"mixed" if mixed else "decode"}"'


def clock_families(counters: Counters, clock: ClockState) -> bytes:
    """Only a simulator has these: whether its figures can be trusted."""
    page = Page(ENGINE_LABEL, counters.created)
    name = "specdec_simulator:clock"
    page.gauge(f"{name}_lag_seconds", "How late the last step ended.", clock.lag)
    page.gauge(f"{name}_max_lag_seconds", "How late a step ended at most.", clock.max_lag)
    page.counter(f"{name}_slipped_seconds", "Time that the clock gave up.", clock.slipped, created=False)
    page.counter(f"{name}_busy_seconds", "Time with a step under way.", counters.busy_seconds, created=False)
    return page.text()
