"""A workload: who asks for what, when, and what a scrape sees of it. Read from a JSON file or by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NAMES: Final = ("steady", "drift", "bursts", "mismatch", "cliff", "prefill", "imbalance", "lossy")
HOUR: Final = 3600.0


class WorkloadError(ValueError):
    """A workload that cannot be simulated; the message names the field and the remedy."""


@dataclass(frozen=True, slots=True)
class Scrape:
    """interval, delay: seconds. lost: share of scrapes that fail. resets_per_day: engine restarts per replica."""

    interval: float = 15.0
    delay: float = 2.0
    lost: float = 0.0
    resets_per_day: float = 0.0


@dataclass(frozen=True, slots=True)
class Workload:
    """One workload.

    load: (hour, share of capacity or requests per second of the fleet), linear between, repeated every `period_hours`.
    relative: whether `load` is a share of capacity: the most tokens per second that any constant K reaches.
    mix: (hour, {profile: share of requests}), linear between, never repeated beyond its last hour unless `mix_period`.
    burst_cv: coefficient of variation of the gaps between arrivals; 1 is Poisson.
    output_tokens, prompt_tokens: (mean, coefficient of variation), log-normal.
    request_spread: standard deviation of a request's acceptance around its profile, in logits of the hazards.
    balance: relative share of arrivals per replica; its length is the number of replicas.
    slower: step time of each replica relative to the cost table.
    prior_is_truth: whether the tuner starts from the simulated costs themselves.
    """

    name: str
    what: str
    seconds: float
    load: tuple[tuple[float, float], ...]
    mix: tuple[tuple[float, Mapping[str, float]], ...]
    relative: bool = True
    period_hours: float = 24.0
    mix_period_hours: float | None = None
    burst_cv: float = 1.0
    output_tokens: tuple[float, float] = (1000.0, 1.0)
    prompt_tokens: tuple[float, float] = (800.0, 1.2)
    prefill_ms_per_token: float = 0.02
    prefill_chunk: float = 2048.0
    request_spread: float = 0.35
    balance: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    slower: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    max_num_seqs: int = 256
    graph_capture_tokens: int | None = 2048
    eager_ms: float = 80.0
    step_noise: float = 0.02
    restart_seconds: float = 480.0
    slo_tpot_ms: float = 40.0
    slo_ttft_seconds: float = 2.0
    scrape: Scrape = Scrape()
    drift_at_hours: float | None = None
    prior_is_truth: bool = False

    @property
    def replicas(self) -> int:
        return len(self.balance)

    @property
    def profiles(self) -> tuple[str, ...]:
        """Names of all profiles that the mix uses, in order of appearance."""
        return tuple(dict.fromkeys(name for _, shares in self.mix for name in shares))

    def load_at(self, seconds: Floats) -> Floats:
        """Share of capacity or requests per second at `seconds` since the start."""
        hours = np.mod(seconds / HOUR, self.period_hours)
        return np.interp(hours, [h for h, _ in self.load], [v for _, v in self.load], period=self.period_hours)

    def shares_at(self, seconds: float) -> Floats:
        """Shape (profiles,): share of requests per profile at `seconds`."""
        hour = seconds / HOUR
        if self.mix_period_hours is not None:
            hour %= self.mix_period_hours
        at = [h for h, _ in self.mix]
        rows = [np.interp(hour, at, [shares.get(name, 0.0) for _, shares in self.mix]) for name in self.profiles]
        shares = np.array(rows)
        out: Floats = shares / shares.sum()
        return out


def find(name_or_file: str) -> Workload:
    """A named workload of the package or one from a JSON file of the same shape."""
    if name_or_file in NAMES:
        text, source = (
            files("specdec.simulate").joinpath("workloads", f"{name_or_file}.json").read_text("utf-8"),
            name_or_file,
        )
    else:
        path = Path(name_or_file)
        if not path.is_file():
            raise WorkloadError(f"no workload '{name_or_file}'; name one of {', '.join(NAMES)} or give a JSON file")
        text, source = path.read_text("utf-8"), path.name
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise WorkloadError(f"{source} is not JSON: {error}") from error
    return parse(document, source)


def parse(document: Any, source: str) -> Workload:
    """A workload from its JSON object; keys are the fields of Workload, `scrape` those of Scrape."""
    if not isinstance(document, Mapping):
        raise WorkloadError(f"{source}: a workload is a JSON object")
    known = set(Workload.__dataclass_fields__)
    unknown = sorted(set(document) - known)
    if unknown:
        raise WorkloadError(f"{source}: unknown field '{unknown[0]}'; known are {', '.join(sorted(known))}")
    missing = [name for name in ("seconds", "load", "mix") if name not in document]
    if missing:
        raise WorkloadError(f"{source}: '{missing[0]}' is missing")
    fields = dict(document)
    try:
        fields["load"] = tuple((float(h), float(v)) for h, v in fields["load"])
        fields["mix"] = tuple((float(h), {str(k): float(v) for k, v in s.items()}) for h, s in fields["mix"])
        for name in ("output_tokens", "prompt_tokens", "balance", "slower"):
            if name in fields:
                fields[name] = tuple(float(v) for v in fields[name])
        fields["scrape"] = Scrape(**fields.get("scrape", {}))
        if "slower" not in fields:
            fields["slower"] = (1.0,) * len(fields.get("balance", Workload.__dataclass_fields__["balance"].default))
        workload = Workload(**{"name": Path(source).stem, "what": "", **fields})
    except (TypeError, ValueError, AttributeError) as error:
        raise WorkloadError(f"{source}: {error}") from error
    return _checked(workload, source)


def _checked(workload: Workload, source: str) -> Workload:
    wrong = {
        "seconds must be above zero": workload.seconds <= 0,
        "load must be above zero at some hour and never negative": not workload.load
        or min(v for _, v in workload.load) < 0
        or max(v for _, v in workload.load) <= 0,
        "mix needs at least one share above zero at every hour": not workload.mix
        or any(sum(s.values()) <= 0 or min(s.values()) < 0 for _, s in workload.mix),
        "slower needs one entry per entry of balance": len(workload.slower) != len(workload.balance),
        "balance needs at least one replica": not workload.balance or min(workload.balance) <= 0,
        "burst_cv must be above zero": workload.burst_cv <= 0,
        "output_tokens needs a mean above 1": len(workload.output_tokens) != 2 or workload.output_tokens[0] <= 1,
    }
    for message, applies in wrong.items():
        if applies:
            raise WorkloadError(f"{source}: {message}")
    return workload
