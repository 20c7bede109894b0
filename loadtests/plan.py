"""The plan of a run, as a user writes it in YAML: phases, each with a load and a mix of scenarios."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, PositiveFloat, PositiveInt, ValidationError, model_validator

from loadtests.scenarios import BUILT_IN, Scenario, Strict


class PlanError(ValueError):
    """A plan that cannot be read; the message names the field and the remedy."""


class Ramp(Strict):
    """From one rate to another in a straight line over the phase, requests per second."""

    start: float = Field(ge=0)
    end: float = Field(ge=0)


class Step(Strict):
    seconds: PositiveFloat
    rate: float = Field(ge=0)


class Diurnal(Strict):
    """A day in fast time: a raised cosine from `low` (at the start) to `high` and back every `period_seconds`."""

    low: float = Field(ge=0)
    high: float = Field(gt=0)
    period_seconds: PositiveFloat


class Burst(Strict):
    """`base` requests per second, and `peak` during the first `for_seconds` of every `every_seconds`."""

    base: float = Field(ge=0)
    peak: float = Field(gt=0)
    every_seconds: PositiveFloat
    for_seconds: PositiveFloat


class Replay(Strict):
    """Arrivals, lengths and domains from a trace file, see `loadtests.trace`; `speed` 2 plays it twice as fast."""

    file: Path
    speed: PositiveFloat = 1.0


class Load(Strict):
    """Exactly one of: closed loop (`users`), open loop (`rate`, `ramp`, `steps`, `diurnal`, `burst`), or `replay`.

    variation: coefficient of variation of the gaps between open-loop arrivals. 1 is Poisson, above 1 comes in bursts.
    think_seconds: pause of a closed-loop user between answer and next request.
    """

    users: PositiveInt | None = None
    rate: PositiveFloat | None = None
    ramp: Ramp | None = None
    steps: tuple[Step, ...] | None = Field(default=None, min_length=1)
    diurnal: Diurnal | None = None
    burst: Burst | None = None
    replay: Replay | None = None
    variation: float = Field(default=1.0, ge=0, le=10)
    think_seconds: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _one_shape(self) -> Load:
        shapes = ("users", "rate", "ramp", "steps", "diurnal", "burst", "replay")
        given = [name for name in shapes if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(shapes)}; got {', '.join(given) or 'none'}")
        return self


class Phase(Strict):
    """`mix`: weight per scenario; ignored by `replay`, whose trace names the domain of each request."""

    name: str = Field(min_length=1, max_length=60)
    seconds: PositiveFloat
    load: Load
    mix: dict[str, float] = Field(default_factory=lambda: {"chat": 1.0}, min_length=1)

    @model_validator(mode="after")
    def _weights(self) -> Phase:
        if any(weight < 0 for weight in self.mix.values()) or sum(self.mix.values()) <= 0:
            raise ValueError("mix: weights must not be negative and at least one must be above 0")
        return self


class Objectives(Strict):
    """Per-request thresholds; a request is good when it succeeded and meets each that is given. Milliseconds."""

    ttft_ms: PositiveFloat | None = None
    tpot_ms: PositiveFloat | None = None
    e2el_ms: PositiveFloat | None = None

    def met_by(self, *, ttft_ms: float | None, tpot_ms: float | None, e2el_ms: float | None) -> bool:
        """Whether a request that succeeded with these times meets each threshold; None (one token has no TPOT) does."""
        pairs = ((ttft_ms, self.ttft_ms), (tpot_ms, self.tpot_ms), (e2el_ms, self.e2el_ms))
        return all(limit is None or value is None or value <= limit for value, limit in pairs)


class Plan(Strict):
    """A run: what is sent when, the same for every target.

    vllm_extensions: `ignore_eos` and `min_tokens`, so that arms do equal work, and `cache_salt`, so that no arm profits
        from prompts which an earlier arm left in the prefix cache. Switch off for servers that refuse unknown fields.
    per_chunk_usage: ask for usage in every chunk (`continuous_usage_stats`), which shows accepted tokens per step.
    warmup_seconds: requests planned before this moment are sent, recorded and left out of every figure.
    drain_seconds: how long to wait after the last phase for answers still under way.
    late_ms: the generator counts itself late when it acts more than this after the planned moment.
    max_in_flight: open-loop requests above this bound are counted as failures instead of sent.
    """

    name: str = Field(default="load test", max_length=80)
    seed: int = 1
    model: str | None = None
    api: Literal["chat", "completions"] = "chat"
    phases: tuple[Phase, ...] = Field(min_length=1)
    scenarios: dict[str, Scenario] = Field(default_factory=dict)
    objectives: Objectives = Objectives()
    warmup_seconds: float = Field(default=0.0, ge=0)
    timeout_seconds: PositiveFloat = 120.0
    drain_seconds: float = Field(default=30.0, ge=0)
    temperature: float = Field(default=0.0, ge=0, le=2)
    vllm_extensions: bool = True
    per_chunk_usage: bool = False
    max_in_flight: PositiveInt = 1024
    late_ms: PositiveFloat = 10.0

    @model_validator(mode="after")
    def _consistent(self) -> Plan:
        for phase in self.phases:
            if strangers := sorted(name for name in phase.mix if not self.knows(name)):
                raise ValueError(f"phase {phase.name!r} mixes {strangers}; known scenarios: {', '.join(self.known)}")
        names = [phase.name for phase in self.phases]
        if len(set(names)) != len(names):
            raise ValueError("phase names must differ from each other: results are grouped by them")
        if self.warmup_seconds >= self.seconds:
            raise ValueError(f"warmupSeconds is {self.warmup_seconds:g}, but the plan lasts only {self.seconds:g} s")
        return self

    @property
    def seconds(self) -> float:
        """Length of all phases together."""
        return sum(phase.seconds for phase in self.phases)

    @property
    def known(self) -> tuple[str, ...]:
        """Names of all scenarios, in order."""
        return tuple(sorted({*BUILT_IN, *self.scenarios}))

    def knows(self, name: str) -> bool:
        return name in self.scenarios or name in BUILT_IN

    def scenario(self, name: str) -> Scenario:
        """The plan's own scenario of that name, else the built-in one."""
        return self.scenarios.get(name) or BUILT_IN[name]

    def starts(self) -> tuple[float, ...]:
        """Shape (phases,): when each phase begins, seconds from the start of the run."""
        ends = [0.0]
        for phase in self.phases:
            ends.append(ends[-1] + phase.seconds)
        return tuple(ends[:-1])

    def phase_at(self, seconds: float) -> int | None:
        """Index of the phase in force, None before the first and after the last."""
        for index, (start, phase) in enumerate(zip(self.starts(), self.phases, strict=True)):
            if start <= seconds < start + phase.seconds:
                return index
        return None

    @property
    def most_users(self) -> int:
        """Closed-loop users needed at once."""
        return max((phase.load.users or 0 for phase in self.phases), default=0)


def load_plan(path: Path) -> Plan:
    """The plan in a YAML or JSON file; a trace file in it is relative to the plan. Raises PlanError."""
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"cannot read the plan {path}: {error}") from error
    except yaml.YAMLError as error:
        raise PlanError(f"{path} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise PlanError(f"{path} must hold a mapping with at least 'phases'; see docs/loadtests.md")
    return parse_plan(content, path.parent, str(path))


def parse_plan(content: dict[str, Any], folder: Path, origin: str = "plan") -> Plan:
    """The plan in `content`. Raises PlanError with one line per mistake."""
    try:
        plan = Plan.model_validate(content)
    except ValidationError as error:
        raise PlanError(f"{origin} is not a plan:\n" + "\n".join(_mistakes(error))) from error
    return plan.model_copy(update={"phases": tuple(_anchored(phase, folder) for phase in plan.phases)})


def _mistakes(error: ValidationError) -> list[str]:
    """One line each; a field whose parts are wrong is not named again for what that makes of itself."""
    found = error.errors()
    own = [e for e in found if not any(e["loc"] == other["loc"][: len(e["loc"])] for other in found if other is not e)]
    said = [(".".join(map(str, e["loc"])) or "plan", e["msg"].removeprefix("Value error, ")) for e in own]
    return [f"  {place}: {message}" for place, message in said]


def _anchored(phase: Phase, folder: Path) -> Phase:
    replay = phase.load.replay
    if replay is None or replay.file.is_absolute():
        return phase
    anchored = replay.model_copy(update={"file": (folder / replay.file).resolve()})
    return phase.model_copy(update={"load": phase.load.model_copy(update={"replay": anchored})})
