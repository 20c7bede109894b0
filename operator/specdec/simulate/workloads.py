"""A workload: who asks for what, when, and what a scrape sees of it. Read from a JSON file or by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.resources import files
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import ErrorDetails

from specdec.api.resource import brief

Floats = NDArray[np.float64]

NAMES: Final = ("steady", "drift", "bursts", "mismatch", "cliff", "prefill", "imbalance", "lossy")
HOUR: Final = 3600.0
DAY_HOURS: Final = 24.0


class WorkloadError(ValueError):
    """A workload that cannot be simulated; the message names the field and the remedy."""


CHECKED: Final = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def _not_all_zero(shares: tuple[float, ...]) -> tuple[float, ...]:
    if not any(shares):
        raise ValueError("all are zero")
    return shares


# A description ends the sentence "it must be ...", which whoever wrote something else in a file is told.
AboveZero = Annotated[float, Field(gt=0, description="a number above zero")]
NotNegative = Annotated[float, Field(ge=0, description="a number of zero or more")]
Share = Annotated[float, Field(ge=0, le=1, description="a share from 0 to 1")]
Count = Annotated[int, Field(ge=1, description="a whole number of 1 or more, without a decimal point")]
Flag = Annotated[bool, Field(description="true or false")]
Name = Annotated[str, Field(min_length=1, description="text that is not empty")]
Text = Annotated[str, Field(description="text")]
Load = Annotated[
    tuple[tuple[float, NotNegative], ...],
    Field(min_length=1, description="a list of [hour, load], both numbers of zero or more"),
]
Mix = Annotated[
    tuple[tuple[float, Mapping[str, NotNegative]], ...],
    Field(min_length=1, description="a list of [hour, {profile: share}], hour and shares numbers of zero or more"),
]
Output = Annotated[
    tuple[Annotated[float, Field(gt=1)], NotNegative],
    Field(description="[mean, coefficient of variation], the mean above 1"),
]
Prompt = Annotated[
    tuple[AboveZero, NotNegative], Field(description="[mean, coefficient of variation], the mean above zero")
]
Shares = Annotated[
    tuple[NotNegative, ...],
    AfterValidator(_not_all_zero),
    Field(description="a list of numbers of zero or more, one per replica and not all zero"),
]
PerReplica = Annotated[tuple[AboveZero, ...], Field(description="a list of numbers above zero, one per replica")]


@dataclass(frozen=True, slots=True, config=CHECKED)
class Scrape:
    """interval, delay: seconds. lost: share of scrapes that fail. resets_per_day: engine restarts per replica."""

    interval: AboveZero = 15.0
    delay: NotNegative = 2.0
    lost: Share = 0.0
    resets_per_day: NotNegative = 0.0


@dataclass(frozen=True, slots=True, config=CHECKED)
class Workload:
    """One workload.

    load: (hour, share of capacity or requests per second of the fleet), linear between, repeated every `period_hours`:
    in a file that leaves them out, as many whole days as `load` spans.
    relative: whether `load` is a share of capacity: the most tokens per second that any constant K reaches.
    mix: (hour, {profile: share of requests}), linear between, never repeated beyond its last hour unless `mix_period`.
    burst_cv: coefficient of variation of the gaps between arrivals; 1 is Poisson.
    output_tokens, prompt_tokens: (mean, coefficient of variation), log-normal.
    request_spread: standard deviation of a request's acceptance around its profile, in logits of the hazards.
    balance: relative share of arrivals per replica; its length is the number of replicas.
    slower: step time of each replica relative to the cost table.
    graph_capture_tokens: the engine's CUDA graph limit in tokens per step, beyond which a step takes `eager_ms` more;
    None where there is none.
    prior_is_truth: whether the tuner starts from the simulated costs themselves.
    """

    name: Name
    what: Text
    seconds: AboveZero
    load: Load
    mix: Mix
    relative: Flag = True
    period_hours: AboveZero = DAY_HOURS
    mix_period_hours: Annotated[
        float | None, Field(gt=0, description="a number above zero, or null where the mix does not repeat")
    ] = None
    burst_cv: AboveZero = 1.0
    output_tokens: Output = (1000.0, 1.0)
    prompt_tokens: Prompt = (800.0, 1.2)
    prefill_ms_per_token: NotNegative = 0.02
    prefill_chunk: AboveZero = 2048.0
    request_spread: NotNegative = 0.35
    balance: Shares = (1.0, 1.0, 1.0, 1.0)
    slower: PerReplica = (1.0, 1.0, 1.0, 1.0)
    max_num_seqs: Count = 256
    graph_capture_tokens: Annotated[
        int | None, Field(ge=1, description="a whole number of 1 or more, or null where there is no limit")
    ] = None
    eager_ms: NotNegative = 80.0
    step_noise: NotNegative = 0.02
    restart_seconds: NotNegative = 480.0
    slo_tpot_ms: AboveZero = 40.0
    slo_ttft_seconds: AboveZero = 2.0
    scrape: Annotated[Scrape, Field(description="an object")] = Scrape()
    drift_at_hours: Annotated[
        float | None, Field(ge=0, description="a number of zero or more, or null where nothing drifts")
    ] = None
    prior_is_truth: Flag = False

    @property
    def replicas(self) -> int:
        return len(self.balance)

    @property
    def profiles(self) -> tuple[str, ...]:
        """Names of all profiles that the mix uses, in order of appearance."""
        return tuple(dict.fromkeys(name for _, shares in self.mix for name in shares))

    def load_at(self, seconds: Floats) -> Floats:
        """Share of capacity or requests per second at `seconds` since the start."""
        hours, at, load = seconds / HOUR, [h for h, _ in self.load], [v for _, v in self.load]
        if at[-1] - at[0] < self.period_hours:
            return np.interp(np.mod(hours, self.period_hours), at, load, period=self.period_hours)
        # the last knot is where the first comes again; folded onto it, it would be lost
        return np.interp(at[0] + np.mod(hours - at[0], self.period_hours), at, load)

    def shares_at(self, seconds: float) -> Floats:
        """Shape (profiles,): share of requests per profile at `seconds`."""
        hour, at = seconds / HOUR, [h for h, _ in self.mix]
        if self.mix_period_hours is not None:
            begin = min(at[0], 0.0)  # below zero where the begin of the workload was cut off
            hour = begin + (hour - begin) % self.mix_period_hours
        rows = [np.interp(hour, at, [shares.get(name, 0.0) for _, shares in self.mix]) for name in self.profiles]
        shares = np.array(rows)
        out: Floats = shares / shares.sum()
        return out


def find(name_or_file: str) -> Workload:
    """A named workload of the package or one from a JSON file of the same shape."""
    if name_or_file in NAMES:
        packaged = files("specdec.simulate").joinpath("workloads", f"{name_or_file}.json")
        return parse(json.loads(packaged.read_text("utf-8")), name_or_file)
    path = Path(name_or_file)
    if not path.is_file():
        raise WorkloadError(f"no workload '{name_or_file}'; name one of {', '.join(NAMES)} or give a JSON file")
    try:
        document = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise WorkloadError(f"{path.name} is not JSON: {error}") from error
    return parse(document, path.name)


def parse(document: Any, source: str) -> Workload:
    """A workload from its JSON object; keys are the fields of Workload, `scrape` those of Scrape."""
    if not isinstance(document, Mapping):
        raise WorkloadError(f"{source}: a workload is a JSON object")
    named = {"name": Path(source).stem, "what": "", **document}
    try:
        found = READER.validate_json(json.dumps(named))
    except ValidationError as error:
        raise WorkloadError(f"{source}: {_told(error.errors()[0], named)}") from error
    workload = replace(found, **_left_out(found, named))
    refused = next(filter(None, (check(workload) for check in CHECKS)), None)
    if refused:
        raise WorkloadError(f"{source}: {refused}")
    return workload


def _left_out(workload: Workload, document: Mapping[str, Any]) -> dict[str, Any]:
    """What follows from other fields where a file does not say it."""
    last, _ = workload.load[-1]
    follows = {
        "period_hours": DAY_HOURS * max(ceil(last / DAY_HOURS), 1),
        "slower": (1.0,) * workload.replicas,
    }
    return {name: value for name, value in follows.items() if name not in document}


def _told(detail: ErrorDetails, document: Mapping[str, Any]) -> str:
    """What is wrong with the first field that is, in words."""
    owner: Any = Workload
    (field, *deeper), value = map(str, detail["loc"]), document
    path = field
    if field == "scrape" and deeper:
        owner, field, value = Scrape, deeper[0], document["scrape"]
        path = f"scrape.{field}"
    if detail["type"] == "missing":
        return f"'{path}' is missing"
    fields = owner.__pydantic_fields__
    if field not in fields:
        return f"unknown field '{path}'; known are {', '.join(sorted(fields))}"
    return f"{path} is {brief(value[field])}; it must be {fields[field].description}"


def _load_hours(workload: Workload) -> str | None:
    return _hours("load", [hour for hour, _ in workload.load], "period_hours", workload.period_hours)


def _mix_hours(workload: Workload) -> str | None:
    return _hours("mix", [hour for hour, _ in workload.mix], "mix_period_hours", workload.mix_period_hours)


def _hours(field: str, hours: list[float], period_field: str, period: float | None) -> str | None:
    if hours[0] < 0:
        return f"the hours of {field} must be zero or more, but one is {hours[0]:g}"
    descends = next((b for a, b in pairwise(hours) if b <= a), None)
    if descends is not None:
        return f"the hours of {field} must ascend, but hour {descends:g} does not; a jump takes two, a moment apart"
    if period is not None and hours[-1] > period:
        last = f"{hours[-1]:g}"
        return f"{field} goes on to hour {last}, but {period_field} is {period:g}; set it to {last} or more"
    return None


def _some_load(workload: Workload) -> str | None:
    some = max(load for _, load in workload.load) > 0
    return None if some else "load must be above zero at some hour"


def _some_share(workload: Workload) -> str | None:
    none = next((hour for hour, shares in workload.mix if sum(shares.values()) <= 0), None)
    return None if none is None else f"mix needs a share above zero at every hour, but has none at hour {none:g}"


def _speeds(workload: Workload) -> str | None:
    return None if len(workload.slower) == workload.replicas else "slower needs one entry per entry of balance"


def _drift(workload: Workload) -> str | None:
    hours = workload.seconds / HOUR
    if workload.drift_at_hours is None or workload.drift_at_hours <= hours:
        return None
    return f"drift_at_hours is {workload.drift_at_hours:g}, but the workload ends after {hours:g} h; set seconds higher"


CHECKS: Final[tuple[Callable[[Workload], str | None], ...]] = (
    _load_hours,
    _mix_hours,
    _some_load,
    _some_share,
    _speeds,
    _drift,
)
READER: Final = TypeAdapter(Workload)
