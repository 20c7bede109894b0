"""The engine: continuous batching in steps, on a clock that the caller moves. No I/O and no waiting in here.

`begin` plans a step from what waits and runs and says how long it takes; `finish` ends it: tokens reach their sinks,
counters move, finished requests leave. Between the two, requests may come (`submit`) and go (`abort`).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from specdec_simulator.acceptance import DRAWS, POSITIONS
from specdec_simulator.buckets import batch_bucket
from specdec_simulator.costs import StepCosts
from specdec_simulator.counters import Counters
from specdec_simulator.request import Request
from specdec_simulator.schedule import LiveSchedule

_MASK: Final = DRAWS - 1


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """start_k: K of the speculative configuration, 0 without one. kv_blocks: of `block_size` tokens each.

    max_num_seqs: largest batch of the schedule; max_active_seqs: requests that run at once, never more.
    """

    start_k: int
    max_num_seqs: int
    max_active_seqs: int
    max_num_batched_tokens: int
    max_model_len: int
    kv_blocks: int
    block_size: int


@dataclass(slots=True)
class Step:
    """A step under way. prefills: requests and the prompt tokens that the step computes of each."""

    start: float
    k: int
    decodes: list[Request]
    prefills: list[tuple[Request, int]]
    prefill_tokens: int

    @property
    def batch(self) -> int:
        return len(self.decodes) + len(self.prefills)


class Engine:
    """Serves requests first come, first served, up to the limits; preempts the youngest when the KV cache is full."""

    def __init__(self, limits: EngineLimits, costs: StepCosts, schedule: LiveSchedule, counters: Counters) -> None:
        self.limits = limits
        self.costs = costs
        self.schedule = schedule
        self.counters = counters
        self.waiting: deque[Request] = deque()
        self.running: list[Request] = []
        self.free_blocks = limits.kv_blocks
        self.step: Step | None = None

    @property
    def kv_usage(self) -> float:
        return 1 - self.free_blocks / self.limits.kv_blocks

    def submit(self, request: Request, now: float) -> None:
        request.arrived = now
        self.waiting.append(request)

    def abort(self, request: Request) -> None:
        """The client left. What the step under way computes for it is lost."""
        if request.gone:
            return
        (self.waiting if request in self.waiting else self.running).remove(request)
        self._leave(request)
        self.counters.finished["abort"] += 1

    def abort_all(self, message: str) -> None:
        """Give up everything in flight and say so to each sink."""
        for request in [*self.running, *self.waiting]:
            self.abort(request)
            request.sink.broken(message)

    def begin(self, now: float) -> float | None:
        """Plan a step; its duration in seconds, or None when there is nothing to do."""
        decodes, prefills, budget = self._continue_running()
        self._admit(now, prefills, budget)
        batch = len(decodes) + len(prefills)
        if not batch:
            return None
        tokens = sum(count for _, count in prefills)
        k = self.schedule.table[min(batch, len(self.schedule.table) - 1)]
        self.step = Step(now, k, decodes, prefills, tokens)
        return self.costs.seconds(decodes=len(decodes), prefills=len(prefills), k=k, prefill_tokens=tokens)

    def finish(self, now: float) -> None:
        """End the step under way at `now`."""
        step, self.step = self.step, None
        if step is None:
            return
        accepted = [0] * (POSITIONS + 1)
        generated = self._decode(step, now, accepted)
        first, prompt_tokens = self._prefill(step, now)
        self.running = [request for request in self.running if not request.gone]
        self._count(step, now, accepted, generated + first, prompt_tokens)

    def _continue_running(self) -> tuple[list[Request], list[tuple[Request, int]], int]:
        decodes: list[Request] = []
        prefills: list[tuple[Request, int]] = []
        budget, width = self.limits.max_num_batched_tokens, 1 + self.limits.start_k
        index = 0
        # Preemption shortens `running` from its end, so the requests planned so far are never its victims.
        while index < len(self.running):
            request = self.running[index]
            if request.left_to_prefill:
                count = min(request.left_to_prefill, budget)
                if count:
                    prefills.append((request, count))
                    budget -= count
            elif budget >= width:
                if not self._make_room(request, request.prompt_tokens + request.generated + width):
                    break
                decodes.append(request)
                budget -= width
            index += 1
        return decodes, prefills, budget

    def _make_room(self, request: Request, tokens: int) -> bool:
        """Give `request` blocks for `tokens`, preempting the youngest; False when it had to be preempted itself."""
        while not self._grow(request, tokens):
            victim = self.running.pop()
            self._preempt(victim)
            if victim is request:
                return False
        return True

    def _grow(self, request: Request, tokens: int) -> bool:
        more = -(-tokens // self.limits.block_size) - request.blocks
        if more > self.free_blocks:
            return False
        if more > 0:
            request.blocks += more
            self.free_blocks -= more
        return True

    def _preempt(self, victim: Request) -> None:
        self.free_blocks += victim.blocks
        victim.blocks = 0
        victim.left_to_prefill = victim.prompt_tokens + victim.generated
        victim.preemptions += 1
        self.counters.preemptions += 1
        self.waiting.appendleft(victim)

    def _admit(self, now: float, prefills: list[tuple[Request, int]], budget: int) -> None:
        width = 1 + self.limits.start_k
        while self.waiting and budget > 0 and len(self.running) < self.limits.max_active_seqs:
            request = self.waiting[0]
            if not self._grow(request, request.left_to_prefill + width):
                return
            self.running.append(self.waiting.popleft())
            if request.scheduled_at is None:
                request.scheduled_at = now
            count = min(request.left_to_prefill, budget)
            prefills.append((request, count))
            budget -= count

    def _decode(self, step: Step, now: float, accepted: list[int]) -> int:
        """Tokens generated by the requests that verified drafts; counts drafts by tokens accepted."""
        total = steady = 0
        k = step.k
        for request in step.decodes:
            if request.gone:
                continue
            count = 1
            if k:
                luck = request.luck
                count += min(luck.table[luck.at & _MASK], k)
                luck.at += luck.stride
                accepted[count - 1] += 1
            if request.last_token_at == step.start:
                steady += 1
            elif request.last_token_at is not None:
                self.counters.inter_token.observe(now - request.last_token_at)
            total += self._emit(request, count, now)
        if steady:
            self.counters.inter_token.observe(now - step.start, steady)
        return total

    def _prefill(self, step: Step, now: float) -> tuple[int, int]:
        """Tokens generated by requests whose prompt is complete; prompt tokens that are so for the first time."""
        total = prompt_tokens = 0
        for request, count in step.prefills:
            if request.gone:
                continue
            request.left_to_prefill -= count
            if request.left_to_prefill:
                continue
            if request.first_token_at is None:
                request.first_token_at = now
                prompt_tokens += request.prompt_tokens
                self.counters.first_token.observe(now - request.arrived)
            elif request.last_token_at is not None:
                self.counters.inter_token.observe(now - request.last_token_at)
            total += self._emit(request, 1, now)
        return total, prompt_tokens

    def _emit(self, request: Request, count: int, now: float) -> int:
        left = request.output_tokens - request.generated
        request.last_token_at = now
        if count < left:
            request.generated += count
            request.sink.tokens(count, None)
            return count
        request.generated += left
        self._leave(request)
        self._count_finished(request, now)
        request.sink.tokens(left, request.finish_reason)
        return left

    def _leave(self, request: Request) -> None:
        request.gone = True
        self.free_blocks += request.blocks
        request.blocks = 0

    def _count(self, step: Step, now: float, accepted: list[int], generated: int, prompt_tokens: int) -> None:
        counters = self.counters
        counters.step_tokens.observe(generated + prompt_tokens)
        counters.generated_tokens += generated
        counters.prompt_tokens += prompt_tokens
        counters.draft_tokens += sum(accepted) * step.k
        counters.busy_seconds += now - step.start
        cell = counters.cell((step.k, batch_bucket(step.batch), bool(step.prefill_tokens)))
        cell.steps += 1
        cell.seconds += now - step.start
        cell.requests += step.batch
        cell.prefill_tokens += step.prefill_tokens
        cell.generated_tokens += generated
        for index, drafts in enumerate(accepted):
            counters.accepted[index] += drafts
            cell.accepted[index] += drafts

    def _count_finished(self, request: Request, now: float) -> None:
        counters = self.counters
        scheduled, first = request.scheduled_at or now, request.first_token_at or now
        counters.finished[request.finish_reason] += 1
        counters.e2e.observe(now - request.arrived)
        counters.queue_time.observe(scheduled - request.arrived)
        counters.inference_time.observe(now - scheduled)
        counters.prefill_time.observe(first - scheduled)
        counters.decode_time.observe(now - first)
        counters.time_per_output_token.observe((now - first) / max(1, request.generated - 1))
        counters.request_prompt_tokens.observe(request.prompt_tokens)
        counters.request_generation_tokens.observe(request.generated)
        counters.request_max_tokens.observe(request.max_tokens)
        counters.request_n.observe(1)
        counters.request_preemptions.observe(request.preemptions)
