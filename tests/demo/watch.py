"""What the twins report while the traffic runs: their status, polled and shown, its changes kept as events."""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
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
class Seen:
    """One twin's status at one moment; texts as Kubernetes shows them, "-" for what is not known."""

    k: int | None
    schedule: str
    batch: str
    accepted: str
    tokens_per_second: str
    tuner: str


def read(resource: Mapping[str, Any]) -> Seen:
    """What `resource`, as the API server has it, says of itself."""
    status: Mapping[str, Any] = resource.get("status", {})
    speculation, performance = status.get("speculation", {}), status.get("performance", {})
    tuned: Mapping[str, Any] = next((c for c in status.get("conditions", []) if c["type"] == "Tuned"), {})
    tiers = speculation.get("schedule", [])
    return Seen(
        k=speculation.get("numSpeculativeTokens"),
        schedule=", ".join(f"{t['fromBatch']}-{t['toBatch']}: {t['numSpeculativeTokens']}" for t in tiers),
        batch=_plain(performance.get("batchSize")),
        accepted=_plain(status.get("acceptance", {}).get("meanAcceptedLength")),
        tokens_per_second=_plain(performance.get("tokensPerSecond")),
        tuner=tuned.get("reason", "-"),
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
    schedules: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    ks: dict[str, deque[int]] = field(default_factory=lambda: defaultdict(lambda: deque(maxlen=SPARK_COLUMNS)))

    def look(self, t: float) -> None:
        """Look at each twin, `t` seconds into the run; an API server that does not answer leaves a gap."""
        try:
            resources = {item["metadata"]["name"]: item for item in self.kubectl.list("specdep")}
        except (KubectlError, json.JSONDecodeError):
            return
        for name in self.names:
            seen = read(resources.get(name, {}))
            self._note(name, seen, t)
            self.last[name] = seen
            if seen.k is not None:
                self.ks[name].append(seen.k)

    def _note(self, name: str, seen: Seen, t: float) -> None:
        known = self.schedules[name]
        if seen.schedule and (not known or known[-1] != seen.schedule):
            if known:
                text = f"K by batch: {seen.schedule}"
                write_rows(self.folder / "events.jsonl", [Event(t=t, text=text, kind="schedule", target=name)])
            known.append(seen.schedule)

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
