"""What the twins report while the traffic runs: their status, polled and shown, its changes kept as events."""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from loadtests.records import Event, RequestRecord, read_rows, requests_file, write_rows
from tests.support.kubectl import Kubectl, KubectlError

BARS: Final = " ▁▂▃▄▅▆▇"
SPARK_COLUMNS: Final = 40
TPOT_WINDOW_SECONDS: Final = 15.0
COLUMNS: Final = ("twin", "K", "batch", "accepted", "tok/s", "TPOT ms (client)", "K over time", "tuner")


@dataclass(frozen=True, slots=True)
class Tier:
    """K up to and including a batch size."""

    to_batch: int
    k: int


@dataclass(frozen=True, slots=True)
class Seen:
    """One twin's status at one moment; texts as Kubernetes shows them, "-" for what is not known.

    on_trial: whether the schedule is but tried for half a minute.
    """

    k: int | None
    tiers: tuple[Tier, ...]
    on_trial: bool
    batch: str
    accepted: str
    tokens_per_second: str
    tuner: str

    @property
    def schedule(self) -> str:
        """Such as "7 up to batch 16, 3 up to batch 64"."""
        return ", ".join(f"{tier.k} up to batch {tier.to_batch}" for tier in self.tiers)


@dataclass(frozen=True, slots=True)
class Kept:
    """A schedule that came into force to stay, seen `t` seconds into the run; what is but tried is not kept."""

    t: float
    tiers: tuple[Tier, ...]

    def k_at(self, batch: int) -> int:
        return next((tier.k for tier in self.tiers if batch <= tier.to_batch), self.tiers[-1].k)


def read(resource: Mapping[str, Any]) -> Seen:
    """What `resource`, as the API server has it, says of itself."""
    status: Mapping[str, Any] = resource.get("status", {})
    speculation, performance = status.get("speculation", {}), status.get("performance", {})
    conditions: Mapping[str, Mapping[str, Any]] = {c["type"]: c for c in status.get("conditions", [])}
    return Seen(
        k=speculation.get("numSpeculativeTokens"),
        tiers=tuple(Tier(t["toBatch"], t["numSpeculativeTokens"]) for t in speculation.get("schedule", [])),
        on_trial=conditions.get("TrialInProgress", {}).get("status") == "True",
        batch=_plain(performance.get("batchSize")),
        accepted=_plain(status.get("acceptance", {}).get("meanAcceptedLength")),
        tokens_per_second=_plain(performance.get("tokensPerSecond")),
        tuner=conditions.get("Tuned", {}).get("reason", "-"),
    )


def _plain(quantity: str | int | None) -> str:
    """Thousandths read better as a decimal: "2930m" is "2.93"."""
    if quantity is None:
        return "-"
    text = str(quantity)
    return f"{int(text[:-1]) / 1000:.2f}" if text.endswith("m") else text


@dataclass(slots=True)
class Watch:
    """Looks at the resources `names`; changes of what is in force become events of the run in `folder`."""

    kubectl: Kubectl
    names: tuple[str, ...]
    folder: Path
    last: dict[str, Seen] = field(default_factory=dict)
    kept: dict[str, list[Kept]] = field(default_factory=lambda: defaultdict(list))
    ks: dict[str, deque[int]] = field(default_factory=lambda: defaultdict(lambda: deque(maxlen=SPARK_COLUMNS)))

    def look(self, t: float) -> None:
        """Look at each twin, `t` seconds into the run; an API server that does not answer leaves a gap."""
        try:
            resources = {item["metadata"]["name"]: item for item in self.kubectl.list("specdep")}
        except (KubectlError, json.JSONDecodeError):
            return
        self.note(resources, t)

    def note(self, resources: Mapping[str, Mapping[str, Any]], t: float) -> None:
        """Take down what `resources`, by name, said `t` seconds into the run."""
        for name in self.names:
            seen = read(resources.get(name, {}))
            self._keep(name, seen, t)
            self.last[name] = seen
            if seen.k is not None:
                self.ks[name].append(seen.k)

    def _keep(self, name: str, seen: Seen, t: float) -> None:
        before, kept = self.last.get(name), self.kept[name]
        if not seen.tiers:
            return
        if seen.on_trial:
            if before is None or not before.on_trial:
                self._mark(Event(t=t, text=f"for a short trial, K {seen.schedule}", kind="trial", target=name))
        elif not kept or kept[-1].tiers != seen.tiers:
            if kept:
                self._mark(Event(t=t, text=f"K {seen.schedule}", kind="schedule", target=name))
            kept.append(Kept(t, seen.tiers))

    def _mark(self, event: Event) -> None:
        write_rows(self.folder / "events.jsonl", [event])

    def table(self, title: str, t: float) -> Table:
        """The live view, `t` seconds into the run."""
        table = Table(title=title, title_justify="left", expand=True)
        for column in COLUMNS:
            table.add_column(column, justify="left" if column in ("twin", "tuner") else "right", no_wrap=True)
        for name in self.names:
            if seen := self.last.get(name):
                spark = "".join(BARS[min(k, len(BARS) - 1)] for k in self.ks[name])
                k = "-" if seen.k is None else str(seen.k)
                tpot = _recent_tpot(self.folder, name, t)
                table.add_row(name, k, seen.batch, seen.accepted, seen.tokens_per_second, tpot, spark, seen.tuner)
        return table


def _recent_tpot(folder: Path, target: str, t: float) -> str:
    """Token-weighted TPOT of the answers that ended within the last seconds."""
    recent = [
        record
        for record in read_rows(requests_file(folder, target), RequestRecord)
        if record.tpot_ms
        and record.output_tokens
        and record.at + (record.e2el_ms or 0) / 1000 > t - TPOT_WINDOW_SECONDS
    ]
    tokens = sum(record.output_tokens or 0 for record in recent)
    if not tokens:
        return "-"
    return f"{sum((record.tpot_ms or 0) * (record.output_tokens or 0) for record in recent) / tokens:.1f}"


def reversals(kept: Sequence[Kept], batch: int, start: float, end: float) -> int:
    """How often K at `batch` turned back between `start` and `end`, seconds into the run: 7, 3, 4, 2 turns twice.

    What was in force at `start` counts as the first K.
    """
    before = [one.k_at(batch) for one in kept if one.t <= start][-1:]
    ks = [*before, *(one.k_at(batch) for one in kept if start < one.t < end)]
    moves = [b - a for a, b in pairwise(ks) if b != a]
    return sum(a * b < 0 for a, b in pairwise(moves))
