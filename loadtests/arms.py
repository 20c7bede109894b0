"""What a sweep compares: K = 0 to 7, a schedule, or the operator's own choice; and how each is put in force.

| switch | arms | how |
|---|---|---|
| `LiveEngines` | K, schedules | PUT at the live endpoint of each engine (docs/engine-contract.md) |
| `ByResource` | K >= 1, Auto | kubectl patch of `spec.tuning`: min = max = K, or the bounds as they were |
| `PausedResource` | all | `spec.paused` while K and schedules are put live, not paused for Auto |
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

from specdec.api.schedule import Schedule, ScheduleError, Tier, constant
from specdec.engine.errors import EngineError
from specdec.engine.live import LiveClient
from specdec.engine.target import Target as Engine

MAX_K: Final = 7
AUTO: Final = "auto"
KUBECTL_SECONDS: Final = 30.0
FOLLOW_SECONDS: Final = 180.0
_LOOK_SECONDS: Final = 1.0
_NAME: Final = re.compile(r"^[A-Za-z0-9_-]+$")


class ArmError(Exception):
    """An arm that cannot be read or put in force; the message names the remedy."""


@dataclass(frozen=True, slots=True)
class Arm:
    """name: as in files and plots. tiers: inclusive batch sizes and K. k None and no tiers: the operator chooses."""

    name: str
    k: int | None = None
    tiers: tuple[Tier, ...] = ()

    def schedule(self, max_batch: int) -> Schedule:
        """Cut or stretched to `max_batch`. Raises ArmError for Auto."""
        if self.k is not None:
            return constant(self.k, max_batch)
        if not self.tiers:
            raise ArmError(f"arm {self.name} is the operator's choice and needs --resource")
        kept = [tier for tier in self.tiers if tier.from_batch <= max_batch]
        return Schedule((*kept[:-1], Tier(kept[-1].from_batch, max_batch, kept[-1].num_speculative_tokens)))


class Switch(Protocol):
    """Puts an arm in force and returns once it is. Leaves things as they were on exit."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def apply(self, arm: Arm) -> None: ...


def parse_arms(text: str) -> tuple[Arm, ...]:
    """`0-7,auto,mine=schedule.json`: single K, ranges of K, `auto`, and files with the contract's `entries`."""
    arms = tuple(arm for part in text.split(",") if part.strip() for arm in _parse(part.strip()))
    names = [arm.name for arm in arms]
    if not arms or len(set(names)) != len(names):
        raise ArmError(f"--arms {text!r}: give at least one arm, and none twice")
    return arms


def _parse(part: str) -> list[Arm]:
    if part == AUTO:
        return [Arm(AUTO)]
    if found := re.fullmatch(r"(\d+)(?:-(\d+))?", part):
        first, last = int(found[1]), int(found[2] or found[1])
        if not first <= last <= MAX_K:
            raise ArmError(f"--arms: {part!r} is not within 0-{MAX_K}")
        return [Arm(f"K{k}", k=k) for k in range(first, last + 1)]
    name, equals, file = part.partition("=")
    if not equals or not _NAME.match(name):
        raise ArmError(f"--arms: cannot read {part!r}; write for example 0-7,auto,mine=schedule.json")
    return [Arm(name, tiers=_tiers(Path(file)))]


def _tiers(file: Path) -> tuple[Tier, ...]:
    try:
        entries = json.loads(file.read_text())["entries"]
        tiers = tuple(Tier(e["fromBatch"], e["toBatch"], e["numSpeculativeTokens"]) for e in entries)
        return Schedule(tiers).tiers
    except (OSError, ValueError, KeyError, TypeError, ScheduleError) as error:
        raise ArmError(
            f"{file} is no schedule (an object with 'entries', see docs/engine-contract.md): {error}"
        ) from error


class LiveEngines:
    """Every engine gets the arm's schedule; at the end each gets back the one that it had."""

    def __init__(self, urls: tuple[str, ...], control_token: str | None, api_key: str | None = None) -> None:
        self._engines = [Engine(url, "", url.rstrip("/"), control_token, api_key) for url in urls]
        self._before: dict[str, Schedule] = {}

    def __enter__(self) -> Self:
        asyncio.run(self._each(self._remember))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run(self._each(self._put_back))

    def apply(self, arm: Arm) -> None:
        asyncio.run(self._each(lambda client, engine: self._put(client, engine, arm.schedule)))

    async def _each(self, act: Callable[[LiveClient, Engine], Any]) -> None:
        try:
            async with LiveClient() as client:
                await asyncio.gather(*(act(client, engine) for engine in self._engines))
        except EngineError as error:
            raise ArmError(f"cannot switch an engine live: {error}") from error

    async def _remember(self, client: LiveClient, engine: Engine) -> None:
        known = await client.get(engine)
        self._before[engine.url] = known.schedule.schedule(known.limits.max_batch)

    async def _put_back(self, client: LiveClient, engine: Engine) -> None:
        if before := self._before.get(engine.url):
            await self._put(client, engine, lambda _: before)

    async def _put(self, client: LiveClient, engine: Engine, schedule: Callable[[int], Schedule]) -> None:
        known = await client.get(engine)
        revision = known.schedule.revision
        wanted = schedule(known.limits.max_batch)
        await client.put(engine, wanted, revision=revision + 1, if_revision=revision)


@dataclass(frozen=True, slots=True)
class Resource:
    """A SpeculativeDeployment, reached by kubectl with the current context (or `kubeconfig`)."""

    name: str
    namespace: str
    kubeconfig: str | None = None
    kubectl: str = "kubectl"

    def get(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._run("get", "specdep", self.name, "-o", "json"))
        return found

    def patch(self, spec: dict[str, Any]) -> None:
        self._run("patch", "specdep", self.name, "--type=merge", "-p", json.dumps({"spec": spec}))

    def _run(self, *arguments: str) -> str:
        place = ["-n", self.namespace, *([f"--kubeconfig={self.kubeconfig}"] if self.kubeconfig else [])]
        try:
            done = subprocess.run(  # noqa: S603 - kubectl, with arguments that are not read by a shell
                [self.kubectl, *place, *arguments], capture_output=True, text=True, timeout=KUBECTL_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ArmError(f"cannot run kubectl: {error}") from error
        if done.returncode != 0:
            raise ArmError(f"kubectl {arguments[0]} {self.name}: {done.stderr.strip()}")
        return done.stdout


class ByResource:
    """Bounds the tuner to one K, and gives it its own bounds back for Auto and at the end."""

    def __init__(self, resource: Resource, follow_seconds: float = FOLLOW_SECONDS) -> None:
        self._resource, self._follow_seconds = resource, follow_seconds
        self._before: dict[str, Any] = {}

    def __enter__(self) -> Self:
        tuning = self._resource.get()["spec"].get("tuning", {})
        self._before = {name: tuning.get(name) for name in ("mode", "min", "max")}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resource.patch({"tuning": self._before})

    def apply(self, arm: Arm) -> None:
        if arm.name == AUTO:
            self._resource.patch({"tuning": {**self._before, "mode": "Auto"}})
            return
        if not arm.k:
            raise ArmError(f"arm {arm.name} cannot be had through the resource alone; add --engine URL for each engine")
        self._resource.patch({"tuning": {"mode": "Auto", "min": arm.k, "max": arm.k}})
        self._await(arm.k)

    def _await(self, k: int) -> None:
        end = time.monotonic() + self._follow_seconds
        seen: object = None
        while time.monotonic() < end:
            tiers = self._resource.get().get("status", {}).get("speculation", {}).get("schedule", [])
            seen = {tier["numSpeculativeTokens"] for tier in tiers}
            if seen == {k}:
                return
            time.sleep(_LOOK_SECONDS)
        raise ArmError(
            f"{self._resource.name} did not come to K = {k} within {self._follow_seconds:g} s (it shows {seen}); "
            "see 'kubectl describe specdep' for what holds it, or use --engine to switch live"
        )


class PausedResource:
    """K and schedules go live to the engines while the resource is paused; Auto lets it run."""

    def __init__(self, resource: Resource, engines: LiveEngines) -> None:
        self._resource, self._engines = resource, engines
        self._paused_before = False

    def __enter__(self) -> Self:
        self._paused_before = bool(self._resource.get()["spec"].get("paused", False))
        self._engines.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engines.__exit__(kind, error, trace)
        self._resource.patch({"paused": self._paused_before})

    def apply(self, arm: Arm) -> None:
        self._resource.patch({"paused": arm.name != AUTO})
        if arm.name != AUTO:
            self._engines.apply(arm)
