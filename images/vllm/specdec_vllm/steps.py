"""Count each engine step where it is known exactly: around the scheduler, in the engine's own loop.

`StepRecorder` stands around two methods of one scheduler. `schedule` decides a step and `update_from_output` ends it;
with asynchronous scheduling a step is decided before the one before it has ended, so it begins at the later of the two.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final

from specdec_vllm.counters import (
    DRAFTS,
    GENERATED_TOKENS,
    PREFILL_TOKENS,
    REQUESTS,
    SCALARS,
    SEQUENCE,
    STEP_SECONDS,
    STEPS,
    CounterFile,
    bucket_table,
)

# A step that failed never ends; more than this many open ones are leftovers.
MAX_OPEN_STEPS: Final = 64
new_token_ids: Final = attrgetter("new_token_ids")


class StepRecorder:
    """Adds each step of `scheduler` to `counters`.

    scheduler: vLLM's, with `requests` (id -> request with `is_prefill_chunk`). clock: seconds, monotonic.
    """

    def __init__(self, scheduler: Any, counters: CounterFile, clock: Callable[[], float] = time.perf_counter) -> None:
        self._scheduler, self._clock = scheduler, clock
        self._slots, self._sequence, self._layout = counters.slots, counters.sequence, counters.layout
        self._buckets = bucket_table()
        self._open: dict[int, tuple[float, int]] = {}
        self._prefilling: set[str] = set()
        self._ended = float("-inf")

    def around_schedule(self, schedule: Callable[..., Any]) -> Callable[..., Any]:
        def recorded(*args: Any, **kwargs: Any) -> Any:
            begun = self._clock()
            step = schedule(*args, **kwargs)
            if step.num_scheduled_tokens:
                self._opened(step, begun)
            return step

        return recorded

    def around_update(self, update: Callable[..., dict[int, Any]]) -> Callable[..., dict[int, Any]]:
        def recorded(step: Any, output: Any) -> dict[int, Any]:
            outputs = update(step, output)
            opened = self._open.pop(id(step), None)
            if opened is not None:
                self._add(step, outputs, *opened)
            return outputs

        return recorded

    def _opened(self, step: Any, begun: float) -> None:
        if len(self._open) >= MAX_OPEN_STEPS:
            self._open.clear()
        cached = step.scheduled_cached_reqs
        prefills = bool(step.scheduled_new_reqs or cached.resumed_req_ids or self._prefilling)
        self._open[id(step)] = (begun, self._prefill_tokens(step) if prefills else 0)

    def _prefill_tokens(self, step: Any) -> int:
        """Prompt tokens of the step: of requests that are new, taken up again, or still inside their prompt."""
        requests, scheduled = self._scheduler.requests, step.num_scheduled_tokens
        candidates = self._prefilling.union(step.scheduled_cached_reqs.resumed_req_ids)
        candidates.update(new.req_id for new in step.scheduled_new_reqs)
        self._prefilling = {
            i for i in candidates if i in requests and (i not in scheduled or requests[i].is_prefill_chunk)
        }
        return sum(scheduled.get(i, 0) for i in candidates)

    def _add(self, step: Any, outputs: dict[int, Any], begun: float, prefill_tokens: int) -> None:
        generated, drafts = 0, None
        for client in outputs.values():
            generated += sum(map(len, map(new_token_ids, client.outputs)))
            if client.scheduler_stats is not None:
                drafts = client.scheduler_stats.spec_decoding_stats
        batch = len(step.num_scheduled_tokens)
        bucket = self._buckets[min(batch, len(self._buckets) - 1)]
        row = self._layout.index(step.num_spec_tokens_to_schedule, bucket, prefill_tokens > 0)
        slots, sequence = self._slots, self._sequence
        ended = self._clock()
        sequence[SEQUENCE] += 1
        slots[row + STEPS] += 1.0
        slots[row + STEP_SECONDS] += ended - max(begun, self._ended)
        slots[row + REQUESTS] += batch
        slots[row + GENERATED_TOKENS] += generated
        if prefill_tokens:
            slots[row + PREFILL_TOKENS] += prefill_tokens
        if drafts is not None:
            slots[row + DRAFTS] += drafts.num_drafts
            self._add_positions(row + SCALARS, drafts.num_draft_tokens_per_pos, drafts.num_accepted_tokens_per_pos)
        sequence[SEQUENCE] += 1
        self._ended = ended

    def _add_positions(self, start: int, verified: list[int], accepted: list[int]) -> None:
        slots, k_max = self._slots, self._layout.k_max
        for position, count in enumerate(verified):
            if not count:
                break
            slots[start + position] += count
            slots[start + k_max + position] += accepted[position]
