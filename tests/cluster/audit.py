"""Reads an API server's audit log: who asked for what, and above all who wrote.

The local cluster keeps its log in `controlplane.audit_log(layout)`, the integration tests' server in `ApiServer`.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

WRITES: Final = ("create", "update", "patch", "delete", "deletecollection")


def events(log: Path) -> list[dict[str, Any]]:
    """All events in `log` and in the files that it was rotated to, oldest first (audit.k8s.io/v1 Event)."""
    files = [*sorted(log.parent.glob(f"{log.stem}-*{log.suffix}")), *([log] if log.exists() else [])]
    lines = (line for file in files for line in file.read_text().splitlines(keepends=True))
    # the last line may be half written
    return [json.loads(line) for line in lines if line.endswith("\n")]


def writes(seen: Iterable[dict[str, Any]], user: str | None = None) -> list[dict[str, Any]]:
    """The events that changed something, of the `user` of that full name or of all."""
    return [event for event in seen if event["verb"] in WRITES and (user is None or event["user"]["username"] == user)]


def since(seen: Iterable[dict[str, Any]], moment: datetime) -> list[dict[str, Any]]:
    """The events that were answered at or after `moment` (with its time zone)."""
    return [event for event in seen if datetime.fromisoformat(event["stageTimestamp"]) >= moment]
