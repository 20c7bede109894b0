"""Steps as vLLM's scheduler decides them, for what stands around a scheduler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass
class NewRequest:
    req_id: str


@dataclass
class CachedRequests:
    resumed_req_ids: set[str] = field(default_factory=set)


@dataclass
class Step:
    """vLLM's SchedulerOutput, as far as it is read."""

    num_scheduled_tokens: Mapping[str, int]
    num_spec_tokens_to_schedule: int
    scheduled_new_reqs: Sequence[NewRequest] = ()
    scheduled_cached_reqs: CachedRequests = field(default_factory=CachedRequests)


@dataclass
class Drafts:
    """vLLM's SpecDecodingStats of one step."""

    num_drafts: int
    num_draft_tokens_per_pos: Sequence[int]
    num_accepted_tokens_per_pos: Sequence[int]


@dataclass
class Statistics:
    spec_decoding_stats: Drafts | None


@dataclass
class ModelOutput:
    """vLLM's ModelRunnerOutput. sampled_token_ids: by request, cut where it stopped once the scheduler has seen it."""

    sampled_token_ids: Sequence[Sequence[int]]


@dataclass
class Outputs:
    """vLLM's EngineCoreOutputs for one client."""

    scheduler_stats: Statistics | None = None


@dataclass
class Request:
    is_prefill_chunk: bool = False


class Scheduler:
    """Hands out prepared steps and outputs; `requests` as vLLM's scheduler keeps them."""

    def __init__(self, *request_ids: str) -> None:
        self.requests = {request_id: Request() for request_id in request_ids}
        self.next_step: Step | None = None
        self.next_outputs: dict[int, Outputs] = {}

    def schedule(self) -> Step:
        assert self.next_step is not None
        return self.next_step

    def update_from_output(self, step: Step, output: ModelOutput) -> dict[int, Outputs]:
        return self.next_outputs
