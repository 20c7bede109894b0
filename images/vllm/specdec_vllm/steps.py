"""Count each engine step where it is known exactly: around the scheduler, in the engine's own loop.

`StepRecorder` stands around two methods of one scheduler. `schedule` decides a step and `update_from_output` ends it;
with asynchronous scheduling a step is decided before the one before it has ended, so it begins at the later of the two.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from specdec_vllm.counters import BUCKETED_BATCHES, BUCKETS, DRAFTS, CounterFile, bucket_table

# A step that failed never ends; more than this many open ones are leftovers.
MAX_OPEN_STEPS: Final = 64


class StepRecorder:
    """Adds each step of `scheduler` to `counters`.

    scheduler: vLLM's, with `requests` (id -> request with `is_prefill_chunk`). clock: seconds, monotonic.
    """

    def __init__(self, scheduler: Any, counters: CounterFile, clock: Callable[[], float] = time.perf_counter) -> None:
        self._scheduler, self._counters, self._clock = scheduler, counters, clock
        self._buckets = bucket_table()
        self._no_positions = (0,) * (2 * counters.layout.k_max)
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
                self._add(step, output, outputs, *opened)
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

    def _add(self, step: Any, output: Any, outputs: dict[int, Any], begun: float, prefill_tokens: int) -> None:
        # The scheduler has cut these very lists where a request stopped; they are read at half the cost of `outputs`.
        generated = sum(map(len, output.sampled_token_ids))
        drafts = None
        for client in outputs.values():
            if client.scheduler_stats is not None:
                drafts = client.scheduler_stats.spec_decoding_stats
        batch = len(step.num_scheduled_tokens)
        bucket = self._buckets[batch] if batch < BUCKETED_BATCHES else BUCKETS - 1
        row = self._counters.layout.index(step.num_spec_tokens_to_schedule, bucket, prefill_tokens > 0)
        ended = self._clock()
        amounts = [1.0, ended - max(begun, self._ended), batch, prefill_tokens, 0, generated]
        if drafts is None:
            amounts += self._no_positions
        else:
            amounts[DRAFTS] = drafts.num_drafts
            amounts += drafts.num_draft_tokens_per_pos
            amounts += drafts.num_accepted_tokens_per_pos
        self._counters.add(row, amounts)
        self._ended = ended
