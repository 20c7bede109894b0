"""`.status`: what the operator found and did. All of it can be rebuilt from the pods and the checkpoint."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from specdec.api.conditions import Truth
from specdec.api.rules import Loose


def _keyed(*keys: str) -> dict[str, Any]:
    return {"x-kubernetes-list-map-keys": list(keys)}


class ConditionEntry(Loose):
    """One condition, as the Kubernetes API conventions have it."""

    type: Annotated[str, Field(max_length=316)]
    """Which condition."""
    status: Truth
    """True, False or Unknown."""
    reason: Annotated[str, Field(max_length=1024)]
    """Why, in one word."""
    message: Annotated[str, Field(max_length=32768)]
    """Why, and what to do, in a sentence."""
    observed_generation: int
    """The generation of the resource that this is about."""
    last_transition_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When the status last changed."""


class ScheduleTier(Loose):
    """K for a range of batch sizes."""

    from_batch: int
    """First batch size, in requests."""
    to_batch: int
    """Last batch size, in requests."""
    num_speculative_tokens: int
    """K, 0 when speculation is off."""


class SpeculationStatus(Loose):
    """What is in force."""

    num_speculative_tokens: int | None = None
    """K at the present batch size."""
    method: str | None = None
    """How the engine drafts."""
    schedule: Annotated[tuple[ScheduleTier, ...], Field(json_schema_extra=_keyed("fromBatch"))] | None = None
    """K by batch size."""
    switching: str | None = None
    """How K reaches the engines: Live or Restart."""
    since: Annotated[str, Field(json_schema_extra={"format": "date-time"})] | None = None
    """When it came into force."""


class AcceptanceStatus(Loose):
    """How much of what is drafted is accepted."""

    mean_accepted_length: str | None = None
    """Tokens per draft, the bonus token included, such as 2930m."""
    per_position: tuple[str, ...] | None = None
    """Share of drafts accepted up to each position, such as 788m."""
    drafts: int | None = None
    """Drafts that this is based on."""


class PerformanceStatus(Loose):
    """What the fleet delivers."""

    tokens_per_second: int | None = None
    """Generated tokens of all pods."""
    time_per_output_token_p95: str | None = None
    """95th percentile, such as 38ms."""
    time_to_first_token_p95: str | None = None
    """95th percentile, such as 1200ms."""
    batch_size: str | None = None
    """Mean requests in one engine step, such as 12500m."""
    gain_percent: int | None = None
    """Tokens per second against the untuned start value: measured where a trial ran, else estimated."""
    gain_basis: str | None = None
    """Measured or Estimated."""


class RecommendationStatus(Loose):
    """What the tuner would do now."""

    num_speculative_tokens: int | None = None
    """K at the present batch size."""
    schedule: Annotated[tuple[ScheduleTier, ...], Field(json_schema_extra=_keyed("fromBatch"))] | None = None
    """K by batch size."""
    expected_gain_percent: int | None = None
    """Estimated gain over what is in force."""
    lower_bound_percent: int | None = None
    """Lower confidence bound of that gain."""
    confidence: str | None = None
    """Low, Medium or High."""
    reason: str | None = None
    """Why it is or is not acted on."""


class SwitchbackStatus(Loose):
    """What the randomised test of spec.tuning.switchback has measured."""

    untuned_num_speculative_tokens: int
    """K that the tuned schedule is held against."""
    since: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """Since when pairs are counted."""
    pairs: int
    """Untuned times that were compared with those before and after them."""
    gain_percent: int | None = None
    """Tokens per second of tuned over untuned times at equal batch."""
    lower_bound_percent: int | None = None
    """Lower end of its 90 % interval, which holds at every look."""
    upper_bound_percent: int | None = None
    """Upper end."""
    verdict: str
    """Open, Confirmed or Refuted."""


class HistoryEntry(Loose):
    """One decision and what came of it."""

    time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When it was made."""
    from_: Annotated[str, Field(alias="from")]
    """What was in force."""
    to: str
    """What replaced it."""
    reason: str
    """Why."""
    predicted_gain_percent: int | None = None
    """What it promised."""
    realised_gain_percent: int | None = None
    """What it brought."""
    verdict: str | None = None
    """Pending, Confirmed, Inconclusive or Reverted."""


class Capability(Loose):
    """One thing that an engine can or cannot do."""

    name: str
    """Such as LiveSwitching or ExactCounters."""
    status: bool
    """Whether it can."""
    reason: str | None = None
    """Why."""


class EngineStatus(Loose):
    """What the engines say of themselves."""

    version: str | None = None
    """Version of vLLM."""
    capabilities: Annotated[tuple[Capability, ...], Field(json_schema_extra=_keyed("name"))] | None = None
    """What they can do."""


class Status(Loose):
    """What the operator found and did."""

    observed_generation: int | None = None
    """Generation of the resource that this status is about."""
    replicas: int | None = None
    """Pods that exist."""
    ready_replicas: int | None = None
    """Pods that serve."""
    updated_replicas: int | None = None
    """Pods of the latest template."""
    selector: str | None = None
    """Label selector of the pods, for the scale subresource."""
    conditions: Annotated[tuple[ConditionEntry, ...], Field(json_schema_extra=_keyed("type"))] | None = None
    """State in words, for people and for `kubectl wait`."""
    speculation: SpeculationStatus | None = None
    """What is in force."""
    acceptance: AcceptanceStatus | None = None
    """How much of what is drafted is accepted."""
    performance: PerformanceStatus | None = None
    """What the fleet delivers."""
    recommendation: RecommendationStatus | None = None
    """What the tuner would do now."""
    switchback: SwitchbackStatus | None = None
    """What tuning gains, measured."""
    history: tuple[HistoryEntry, ...] | None = None
    """The last ten decisions, newest first."""
    engine: EngineStatus | None = None
    """What the engines say of themselves."""

    def condition(self, type_: str) -> ConditionEntry | None:
        """The condition of this type, if it is known yet."""
        return next((entry for entry in self.conditions or () if entry.type == type_), None)

    def to_json(self) -> dict[str, Any]:
        """As it is written to the /status subresource; what is not known is left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
