"""Engines in fake time: the step engine with sinks that remember."""

from __future__ import annotations

from dataclasses import dataclass, field

from specdec_simulator import acceptance, costs
from specdec_simulator.counters import Counters
from specdec_simulator.engine import Engine, EngineLimits
from specdec_simulator.request import Request
from specdec_simulator.schedule import LiveSchedule

PROFILES = acceptance.load()
COSTS = costs.load()


@dataclass(slots=True)
class Memory:
    """A sink. steps: tokens that each step brought."""

    steps: list[int] = field(default_factory=list)
    finish_reason: str | None = None
    error: str | None = None

    def tokens(self, count: int, finish_reason: str | None) -> None:
        assert self.finish_reason is None, "tokens after the end"
        self.steps.append(count)
        self.finish_reason = finish_reason

    def broken(self, message: str) -> None:
        self.error = message

    @property
    def total(self) -> int:
        return sum(self.steps)


def engine(
    *,
    k: int = 7,
    table: tuple[int, ...] | None = None,
    max_num_seqs: int = 64,
    max_num_batched_tokens: int = 8192,
    kv_blocks: int = 10_000,
    capture_tokens: int | None = 4096,
) -> Engine:
    """An engine started with `k`; `table`: K by batch size, element 0 unused."""
    limits = EngineLimits(
        start_k=k,
        max_num_seqs=max_num_seqs,
        max_active_seqs=max_num_seqs,
        max_num_batched_tokens=max_num_batched_tokens,
        max_model_len=100_000,
        kv_blocks=kv_blocks,
        block_size=16,
    )
    schedule = LiveSchedule(table or (k,) * (max_num_seqs + 1), 0.0)
    return Engine(limits, costs.StepCosts(COSTS, k, capture_tokens), schedule, Counters(0.0, 100_000))


DEALER = acceptance.Acceptance(PROFILES, {"math": 1.0})


def request(*, prompt: int = 100, output: int = 50, key: str = "1", domain: str = "math") -> tuple[Request, Memory]:
    memory = Memory()
    made = Request(
        prompt_tokens=prompt,
        output_tokens=output,
        max_tokens=output,
        finish_reason="length",
        luck=DEALER.deal(key, domain),
        sink=memory,
    )
    return made, memory


def run(engine: Engine, now: float = 0.0, *, steps: int = 10_000) -> float:
    """Step until there is nothing to do or `steps` are done; the time then."""
    for _ in range(steps):
        seconds = engine.begin(now)
        if seconds is None:
            return now
        now += seconds
        engine.finish(now)
    return now


def submitted(engine: Engine, count: int, *, prompt: int = 100, output: int = 50) -> list[Memory]:
    """`count` requests at time 0."""
    memories = []
    for number in range(count):
        made, memory = request(prompt=prompt, output=output, key=str(number))
        engine.submit(made, 0.0)
        memories.append(memory)
    return memories
