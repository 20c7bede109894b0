"""What the engine counts: vLLM's own families and the exact counters of docs/engine-contract.md."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Final

from specdec_simulator.acceptance import POSITIONS

LATENCY_SECONDS: Final = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
FIRST_TOKEN_SECONDS: Final = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
    160.0, 640.0, 2560.0,
)  # fmt: skip
REQUEST_SECONDS: Final = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0,
    1920.0, 7680.0,
)  # fmt: skip
STEP_TOKENS: Final = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
FINISHED_REASONS: Final = ("stop", "length", "abort", "error", "repetition")


def token_bounds(max_model_len: int) -> tuple[float, ...]:
    """1, 2, 5, 10, ... up to `max_model_len`: vLLM's buckets for tokens of one request."""
    bounds: list[float] = []
    power = 1
    while True:
        for step in (1, 2, 5):
            if step * power > max_model_len:
                return tuple(bounds)
            bounds.append(float(step * power))
        power *= 10


class Histogram:
    """bounds: ascending, without +Inf. counts: shape (len(bounds) + 1,), not cumulative."""

    __slots__ = ("bounds", "count", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.count = 0
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds, value)] += times
        self.count += times
        self.sum += value * times


@dataclass(slots=True)
class Cell:
    """Exact counters of one (K, batch bucket, phase). accepted: drafts by how many of their tokens were accepted."""

    steps: int = 0
    seconds: float = 0.0
    requests: int = 0
    prefill_tokens: int = 0
    generated_tokens: int = 0
    accepted: list[int] = field(default_factory=lambda: [0] * (POSITIONS + 1))


CellKey = tuple[int, int, bool]


class Counters:
    """All counters of one engine; made anew when they are reset. created: seconds since the epoch."""

    def __init__(self, created: float, max_model_len: int) -> None:
        tokens = token_bounds(max_model_len)
        self.created = created
        self.draft_tokens = 0
        self.accepted = [0] * (POSITIONS + 1)
        self.prompt_tokens = 0
        self.generated_tokens = 0
        self.preemptions = 0
        self.finished = dict.fromkeys(FINISHED_REASONS, 0)
        self.step_tokens = Histogram(STEP_TOKENS)
        self.inter_token = Histogram(LATENCY_SECONDS)
        self.time_per_output_token = Histogram(LATENCY_SECONDS)
        self.first_token = Histogram(FIRST_TOKEN_SECONDS)
        self.e2e = Histogram(REQUEST_SECONDS)
        self.queue_time = Histogram(REQUEST_SECONDS)
        self.inference_time = Histogram(REQUEST_SECONDS)
        self.prefill_time = Histogram(REQUEST_SECONDS)
        self.decode_time = Histogram(REQUEST_SECONDS)
        self.request_prompt_tokens = Histogram(tokens)
        self.request_generation_tokens = Histogram(tokens)
        self.request_max_tokens = Histogram(tokens)
        self.request_n = Histogram((1.0, 2.0, 5.0, 10.0, 20.0))
        self.request_preemptions = Histogram((1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0))
        self.cells: dict[CellKey, Cell] = {}
        self.busy_seconds = 0.0

    @property
    def drafts(self) -> int:
        return sum(self.accepted)

    def accepted_per_position(self) -> list[int]:
        """Shape (POSITIONS,)."""
        return at_least(self.accepted)

    def cell(self, key: CellKey) -> Cell:
        found = self.cells.get(key)
        if found is None:
            found = self.cells[key] = Cell()
        return found


def at_least(accepted: list[int]) -> list[int]:
    """Shape (POSITIONS,): drafts whose tokens up to and including each position were all accepted."""
    totals, reached = [0] * POSITIONS, 0
    for count in range(POSITIONS, 0, -1):
        reached += accepted[count]
        totals[count - 1] = reached
    return totals
