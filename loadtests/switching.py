"""How an arm is put in force.

| switch | arms | how |
|---|---|---|
| `live.LiveEngines` | K, schedules | PUT at the live endpoint of each engine (docs/engine-contract.md) |
| `ByResource` | K >= 1, Auto | kubectl patch of `spec.tuning`: min = max = K, or the bounds as they were |
| `PausedResource` | all | `spec.paused` while K and schedules are put live, not paused for Auto |
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Protocol, Self

from loadtests.arms import AUTO, Arm, ArmError
from loadtests.keepsake import Keepsake
from loadtests.live import LiveEngines
from loadtests.resource import Resource
from specdec.api.schedule import Schedule

FOLLOW_SECONDS: Final = 180.0
_LOOK_SECONDS: Final = 1.0


class Switch(Protocol):
    """Puts an arm in force and returns once it is. Leaves things as they were on exit."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def apply(self, arm: Arm) -> None:
        """Raises ArmError."""

    def confirm(self, arm: Arm) -> None:
        """Raises ArmError when the arm is no longer in force: what was measured meanwhile was something else."""


class ByResource:
    """Bounds the tuner to one K, and gives it its own bounds back for Auto and at the end."""

    def __init__(
        self, resource: Resource, follow_seconds: float = FOLLOW_SECONDS, keepsake: Keepsake | None = None
    ) -> None:
        self._resource, self._follow_seconds = resource, follow_seconds
        self._keepsake = keepsake or Keepsake()
        self._before: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._before = self._keepsake.take("tuning", self._tuning)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resource.patch({"tuning": self._before})
        self._keepsake.drop("tuning")

    def apply(self, arm: Arm) -> None:
        if arm.name == AUTO:
            self._resource.patch({"tuning": {**self._before, "mode": "Auto"}})
            return
        if not arm.k:
            raise ArmError(f"arm {arm.name} cannot be had through the resource alone; add --engine URL for each engine")
        self._resource.patch({"tuning": {"mode": "Auto", "min": arm.k, "max": arm.k}})
        self._await(arm.k)

    def confirm(self, arm: Arm) -> None:
        if arm.k and (seen := self._ks()) != {arm.k}:
            raise ArmError(f"{self._resource.name} left K = {arm.k} for {_listed(seen)} while it was measured")

    def _tuning(self) -> dict[str, Any]:
        tuning = self._resource.get()["spec"].get("tuning", {})
        return {name: tuning.get(name) for name in ("mode", "min", "max")}

    def _ks(self) -> set[int]:
        tiers = self._resource.get().get("status", {}).get("speculation", {}).get("schedule", [])
        return {tier["numSpeculativeTokens"] for tier in tiers}

    def _await(self, k: int) -> None:
        end = time.monotonic() + self._follow_seconds
        while (seen := self._ks()) != {k}:
            if time.monotonic() > end:
                raise ArmError(
                    f"{self._resource.name} did not come to K = {k} within {self._follow_seconds:g} s (it shows "
                    f"{_listed(seen)}); 'kubectl describe specdep' says what holds it; --engine switches live"
                )
            time.sleep(_LOOK_SECONDS)


def _listed(ks: set[int]) -> str:
    return f"K = {', '.join(map(str, sorted(ks)))}" if ks else "no K"


class PausedResource:
    """K and schedules go live to the engines while the resource is paused; Auto lets it run from where it was."""

    def __init__(self, resource: Resource, engines: LiveEngines, keepsake: Keepsake | None = None) -> None:
        self._resource, self._engines = resource, engines
        self._keepsake = keepsake or Keepsake()
        self._paused_before = False
        self._auto: Mapping[str, Schedule] = {}
        self._running_auto = False

    def __enter__(self) -> Self:
        self._paused_before = self._keepsake.take("paused", self._is_paused)
        self._engines.__enter__()
        self._auto = self._engines.before
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._engines.__exit__(kind, error, trace)
        finally:
            self._resource.patch({"paused": self._paused_before})
            self._keepsake.drop("paused")

    def apply(self, arm: Arm) -> None:
        """Auto is given the schedule that it had chosen last, so that it is not measured on another arm's."""
        if arm.name == AUTO:
            self._engines.put_each(self._auto)
            self._pause(False)
        else:
            self._pause(True)
            if self._running_auto:
                self._auto = self._engines.schedules()
            self._engines.apply(arm)
        self._running_auto = arm.name == AUTO

    def confirm(self, arm: Arm) -> None:
        if arm.name != AUTO:
            self._engines.confirm(arm)

    def _is_paused(self) -> bool:
        return bool(self._resource.get()["spec"].get("paused", False))

    def _pause(self, paused: bool) -> None:
        """Returns once the operator has seen it: until then it may still change the engines."""
        self._resource.patch({"paused": paused})
        end = time.monotonic() + FOLLOW_SECONDS
        while not self._observed():
            if time.monotonic() > end:
                raise ArmError(
                    f"the operator has not seen the change of {self._resource.name} for {FOLLOW_SECONDS:g} s; is it up?"
                )
            time.sleep(_LOOK_SECONDS)

    def _observed(self) -> bool:
        resource = self._resource.get()
        seen: object = resource.get("status", {}).get("observedGeneration")
        return bool(seen == resource["metadata"]["generation"])
