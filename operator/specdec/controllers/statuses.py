"""Keeps `.status` true with few writes: what only ticks is refreshed now and then, what changed is written at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from specdec import observed
from specdec.api.event import Event
from specdec.api.report import TunerReport
from specdec.api.resource import Problem, SpeculativeDeployment
from specdec.api.status import Status
from specdec.controllers.accepting import held_by_pause
from specdec.controllers.findings import PASSING
from specdec.controllers.reporting import report_of
from specdec.controllers.standing import Standing
from specdec.kube.cache import Cache, Seen
from specdec.kube.client import KubeClient
from specdec.kube.events import Recorder
from specdec.kube.kinds import RESOURCE

# Figures move with every scrape; nobody reads them faster than this.
FIGURES_EVERY_SECONDS: Final = 30.0

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Statuses:
    """now: wall clock."""

    client: KubeClient
    cache: Cache
    recorder: Recorder
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def report(self, resource: SpeculativeDeployment, standing: Standing, seen: Seen) -> None:
        """Write the status if it changed, and tell of what changed in it."""
        if seen.resource is None:
            return
        self._refresh(resource, standing)
        held = held_by_pause(standing.checkpoint, resource, self.now().timestamp())
        snapshot = observed.Snapshot(
            seen.children, seen.pods, standing.refusals + standing.token_refusals, held.message if held else None
        )
        before = _lenient(seen.resource.get("status"))
        observation = observed.status(resource, snapshot, standing.report, self._time(), before)
        await self._write(seen.resource, observation)

    async def stall(self, stored: Json, problems: tuple[Problem, ...]) -> None:
        """A resource that slipped past admission: say what is wrong with it."""
        metadata = stored["metadata"]
        before = _lenient(stored.get("status"))
        await self._write(stored, observed.invalid(problems, metadata.get("generation", 0), self._time(), before))

    async def tell(self, about: Json, events: Iterable[Event]) -> None:
        for event in events:
            await self.recorder.post(about, event)

    async def _write(self, stored: Json, observation: observed.Observation) -> None:
        status = observation.status.to_json()
        if status != stored.get("status"):
            metadata = {key: stored["metadata"][key] for key in ("namespace", "name", "uid")}
            manifest = {
                "apiVersion": RESOURCE.api_version,
                "kind": RESOURCE.name,
                "metadata": metadata,
                "status": status,
            }
            answer = await self.client.apply_status(manifest)
            self.cache.put(RESOURCE, answer, quietly=True)
        await self.tell(stored, observation.events)

    def _refresh(self, resource: SpeculativeDeployment, standing: Standing) -> None:
        """Make the tuner's report anew at once where it matters, else when it is old and figures have moved."""
        clock = asyncio.get_running_loop().time()
        report = report_of(resource, standing)
        facts = _facts(report)
        known = standing.report_facts
        old = clock - standing.report_at >= FIGURES_EVERY_SECONDS
        if known is None or known[0] != facts[0] or (old and (known != facts or _moving(standing))):
            standing.report, standing.report_facts, standing.report_at = report, facts, clock

    def _time(self) -> str:
        return self.now().strftime("%Y-%m-%dT%H:%M:%SZ")


def _facts(report: TunerReport) -> tuple[object, object]:
    """What of a report is told at once (decisions, findings), and what when it is old; neither figures nor wording."""
    reasons = {condition: (finding.truth, finding.reason) for condition, finding in report.findings.items()}
    lasting = {condition: (truth, reason not in PASSING and reason) for condition, (truth, reason) in reasons.items()}
    speculation = report.speculation and (report.speculation.schedule, report.speculation.since)
    known = (report.acceptance is None, report.performance is None)
    return (lasting, speculation, report.history, report.engine, known), reasons


def _moving(standing: Standing) -> bool:
    """Whether there is traffic, or was until just now."""
    shown, summary = standing.report.performance, standing.summary()
    if summary is None:
        return False
    return bool(summary.drafts > _drafts(standing.report) or (shown and shown.tokens_per_second))


def _drafts(report: TunerReport) -> float:
    return float((report.acceptance and report.acceptance.drafts) or 0)


def _lenient(status: Json | None) -> Status:
    """What another version wrote otherwise counts as nothing, and is written anew."""
    try:
        return Status.model_validate(status or {})
    except ValueError:
        return Status()
