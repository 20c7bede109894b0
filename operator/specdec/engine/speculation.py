"""The answers of the live speculation endpoint (docs/engine-contract.md), checked where they enter the process."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AliasGenerator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from specdec.api.schedule import Schedule, Tier, constant, from_table

API_VERSION = "speculation.specdec.dev/v1"
Batch = Annotated[int, Field(ge=1, le=65536)]
SpeculativeTokens = Annotated[int, Field(ge=0, le=64)]


class _Answer(BaseModel):
    """Unknown fields are ignored: an engine may be newer than the operator."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=AliasGenerator(validation_alias=to_camel))


class Entry(_Answer):
    from_batch: Batch
    to_batch: Batch
    num_speculative_tokens: SpeculativeTokens


class ScheduleInForce(_Answer):
    """The schedule that the engine uses now; revision 0 is the one it started with, `changed_at` then its start."""

    revision: Annotated[int, Field(ge=0)]
    off: bool
    entries: Annotated[tuple[Entry, ...], Field(max_length=512)] = ()
    changed_at: datetime | None = None

    def schedule(self, max_batch: int) -> Schedule:
        """As the operator's own type; raises ScheduleError for entries with a gap or an overlap."""
        if self.off:
            return constant(0, max_batch)
        tiers = tuple(Tier(e.from_batch, e.to_batch, e.num_speculative_tokens) for e in self.entries)
        return from_table(Schedule(tiers).table())


class Engine(_Answer):
    name: str
    version: str
    plugin: str | None = None


class Limits(_Answer):
    """graph_capture_tokens: None when the engine captures no CUDA graphs."""

    min_num_speculative_tokens: SpeculativeTokens
    max_num_speculative_tokens: SpeculativeTokens
    max_batch: Batch
    max_num_batched_tokens: int | None = None
    graph_capture_tokens: int | None = None


class Capability(_Answer):
    name: str
    status: bool
    reason: str
    message: str = ""


class EngineWarning(_Answer):
    reason: str
    message: str


class Speculation(_Answer):
    """What the engine says of its speculation: GET /v1/speculation."""

    api_version: str
    engine: Engine
    method: str
    start_num_speculative_tokens: SpeculativeTokens
    limits: Limits
    schedule: ScheduleInForce
    capabilities: tuple[Capability, ...] = ()
    warnings: tuple[EngineWarning, ...] = ()

    def capability(self, name: str) -> Capability | None:
        return next((c for c in self.capabilities if c.name == name), None)


class ErrorBody(_Answer):
    reason: str
    message: str
    field: str | None = None


class ErrorAnswer(_Answer):
    error: ErrorBody
