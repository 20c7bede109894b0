"""What a generator process is told (one JSON file or message) and what it tells back while it runs (JSON lines)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from loadtests.plan import Plan

GO: Final = "go"
READY: Final = "ready"
PROGRESS: Final = "progress"
DONE: Final = "done"


@dataclass(frozen=True, slots=True)
class Job:
    """One target's share of a run.

    api_key_env: name of the environment variable that holds the key; the key itself never travels here.
    salt: separates this run from earlier ones in prefix caches.
    """

    target: str
    url: str
    model: str
    plan: dict[str, Any]
    folder: str
    salt: str
    api_key_env: str | None = None
    ca_file: str | None = None
    insecure: bool = False
    expect_workers: int = 0
    bind_port: int = 5557

    @classmethod
    def read(cls, path: Path) -> Self:
        return cls(**json.loads(path.read_text()))

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    def parsed_plan(self) -> Plan:
        return Plan.model_validate(self.plan)


@dataclass(frozen=True, slots=True)
class Progress:
    """Counts since the start of the run. late_share: of beats and planned sends, 0 to 1.

    missed: requests after the warm-up that failed or missed an objective.
    """

    t: float
    sent: int
    done: int
    failed: int
    output_tokens: int
    late_share: float
    missed: int = 0

    @property
    def in_flight(self) -> int:
        return self.sent - self.done
