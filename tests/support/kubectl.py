"""kubectl as a user runs it, and waiting for what it shows."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

Found = TypeVar("Found")
POLL_SECONDS = 0.5


class KubectlError(Exception):
    """kubectl ended with an error; the text is what it printed."""


@dataclass(frozen=True, slots=True)
class Kubectl:
    """Runs one kubectl program against one kubeconfig, in `namespace` where one is given."""

    program: Path
    kubeconfig: Path
    namespace: str | None = None

    def run(self, *arguments: str, stdin: str | None = None, limit: float = 120) -> str:
        """stdout of `kubectl ARGUMENTS`. Raises KubectlError with its stderr."""
        scope = ("-n", self.namespace) if self.namespace else ()
        done = subprocess.run(
            [str(self.program), "--kubeconfig", str(self.kubeconfig), *scope, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
        if done.returncode != 0:
            raise KubectlError(done.stderr.strip() or done.stdout.strip())
        return done.stdout

    def within(self, namespace: str) -> Kubectl:
        return Kubectl(self.program, self.kubeconfig, namespace)

    def apply(self, *manifests: Mapping[str, Any]) -> str:
        return self.run("apply", "-f", "-", stdin=yaml.safe_dump_all(manifests))

    def get(self, kind: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("get", kind, name, "-o", "json"))
        return found

    def list(self, kind: str, selector: str = "") -> list[dict[str, Any]]:
        chosen: Sequence[str] = ("-l", selector) if selector else ()
        items: list[dict[str, Any]] = json.loads(self.run("get", kind, *chosen, "-o", "json"))["items"]
        return items


def until(what: str, look: Callable[[], Found | None], limit: float = 120) -> Found:
    """The first truthy answer of `look`; a KubectlError counts as "not yet". Fails after `limit` s, saying why."""
    end = time.monotonic() + limit
    last: object = None
    while time.monotonic() < end:
        try:
            last = found = look()
            if found:
                return found
        except KubectlError as error:
            last = error
        time.sleep(POLL_SECONDS)
    raise AssertionError(f"not within {limit:.0f} s: {what}; last seen: {last}")


def condition(resource: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """The condition of that type, or an empty mapping."""
    conditions = resource.get("status", {}).get("conditions", [])
    return next((c for c in conditions if c["type"] == kind), {})
