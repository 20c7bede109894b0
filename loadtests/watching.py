"""What happens to a SpeculativeDeployment while it is under load: changes of K, restarts, pods that come and go.

Looked at by kubectl from where the load test runs; the moments are those of the look, so up to `EVERY_SECONDS` late.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from loadtests.records import Event, RunInfo, Sample, write_rows
from loadtests.resource import Resource, ResourceError
from specdec.api import names

EVERY_SECONDS: Final = 2.0
STOP_SECONDS: Final = 60.0
_REASON_LETTERS: Final = 160


@dataclass(slots=True)
class Look:
    """What was seen last of one resource, to tell what changed. restarts: by name of the pod."""

    schedule: str | None = None
    paused: bool | None = None
    restarts: dict[str, int] | None = field(default=None)

    def changes(self, resource: Mapping[str, Any], pods: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
        """Kind and text of what is different now; nothing at the first look."""
        yield from self._schedule(resource)
        yield from self._pods({pod["metadata"]["name"]: _restarts(pod) for pod in pods})

    def _schedule(self, resource: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        shown, paused = schedule_text(resource), bool(resource["spec"].get("paused", False))
        if self.paused is not None and paused != self.paused:
            yield "pause", "paused" if paused else "no longer paused"
        if shown and self.schedule is not None and shown != self.schedule:
            yield "schedule", f"K by batch: {self.schedule} → {shown}{_reason(resource)}"
        self.schedule, self.paused = shown or self.schedule, paused

    def _pods(self, now: dict[str, int]) -> Iterator[tuple[str, str]]:
        before, self.restarts = self.restarts, now
        if before is None:
            return
        for name, count in now.items():
            if name not in before:
                yield "pod", f"pod {name} is new"
            elif count > before[name]:
                yield "restart", f"pod {name} restarted"
        yield from (("pod", f"pod {name} is gone") for name in before if name not in now)


def schedule_text(resource: Mapping[str, Any]) -> str:
    """`1-8: 7, 9-64: 2`, or `7` where one K serves every batch; empty when status has none."""
    tiers = resource.get("status", {}).get("speculation", {}).get("schedule", [])
    if len(tiers) == 1:
        return str(tiers[0]["numSpeculativeTokens"])
    return ", ".join(f"{t['fromBatch']}-{t['toBatch']}: {t['numSpeculativeTokens']}" for t in tiers)


def _reason(resource: Mapping[str, Any]) -> str:
    tuned: Mapping[str, Any] = next(
        (c for c in resource.get("status", {}).get("conditions", []) if c["type"] == "Tuned"), {}
    )
    return f" ({tuned['message'][:_REASON_LETTERS]})" if tuned.get("message") else ""


def _restarts(pod: Mapping[str, Any]) -> int:
    return sum(status["restartCount"] for status in pod.get("status", {}).get("containerStatuses", []))


class Watching:
    """Writes `events.jsonl` while it is open, and K into `series.jsonl` for targets without a metrics page.

    resources: by name of the target. An API server that does not answer leaves a gap and ends nothing.
    """

    def __init__(self, info: RunInfo, folder: Path, resources: Mapping[str, Resource]) -> None:
        self._info, self._folder, self._resources = info, folder, resources
        self._without_metrics = {target.name for target in info.targets if not target.metrics}
        self._looks = {name: Look() for name in resources}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="watching")

    def __enter__(self) -> Self:
        if self._resources:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._resources:
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        ended = False
        while not ended:
            ended = self._stop.wait(EVERY_SECONDS)  # and one last look, for what happened since the one before
            for target, resource in self._resources.items():
                with suppress(ResourceError):
                    self._look(target, resource)

    def _look(self, target: str, resource: Resource) -> None:
        found, pods = resource.get(), resource.list("pods", "-l", names.selector_text(resource.name))
        t = round(time.time() - self._info.started_at, 3)
        events = [Event(t, text, kind, target) for kind, text in self._looks[target].changes(found, pods)]
        write_rows(self._folder / "events.jsonl", [event for event in events if event.t >= 0])
        k = found.get("status", {}).get("speculation", {}).get("numSpeculativeTokens")
        if target in self._without_metrics and k is not None and t >= 0:
            write_rows(self._folder / "series.jsonl", [Sample(t, target, k=float(k))])
