"""A SpeculativeDeployment as kubectl reaches it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import Any, Final

KUBECTL_SECONDS: Final = 30.0


class ResourceError(Exception):
    """kubectl could not do what it was asked to; the message holds what it said."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A SpeculativeDeployment, reached by kubectl with the current context (or `kubeconfig`)."""

    name: str
    namespace: str
    kubeconfig: str | None = None
    kubectl: str = "kubectl"

    def get(self) -> dict[str, Any]:
        """Raises ResourceError, as all of these do."""
        return self._read("get", "specdep", self.name)

    def patch(self, spec: dict[str, Any]) -> None:
        self._run("patch", "specdep", self.name, "--type=merge", "-p", json.dumps({"spec": spec}))

    def list(self, kind: str, *selection: str) -> list[dict[str, Any]]:
        """Objects of the namespace. selection: `-l` or `--field-selector` arguments."""
        found: list[dict[str, Any]] = self._read("get", kind, *selection).get("items", [])
        return found

    def _read(self, *arguments: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self._run(*arguments, "-o", "json"))
        except ValueError as error:
            raise ResourceError(f"kubectl {' '.join(arguments[:2])}: its answer is not JSON: {error}") from error
        return found

    def _run(self, *arguments: str) -> str:
        place = ["-n", self.namespace, *([f"--kubeconfig={self.kubeconfig}"] if self.kubeconfig else [])]
        try:
            done = subprocess.run(  # noqa: S603 - kubectl, with arguments that are not read by a shell
                [self.kubectl, *place, *arguments], capture_output=True, text=True, timeout=KUBECTL_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ResourceError(f"cannot run kubectl: {error}") from error
        if done.returncode != 0:
            said = done.stderr.strip().splitlines() or ["no reason given"]  # before the last line: log of its libraries
            raise ResourceError(f"kubectl {' '.join(arguments[:2])} {self.name}: {said[-1]}")
        return done.stdout
