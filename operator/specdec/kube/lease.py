"""Which of the replicas acts: a Lease of coordination.k8s.io, renewed by one, watched by the others.

A holder counts its time from before the request that renewed it, so it stops before anyone else may start. No write
of it outlasts `MARGIN_SECONDS` before that: by then its client has given up, and the server drops what a client gave
up, or has stored it. What reaches an engine later still is fenced by the revision, which an engine takes only upwards.
On shutdown the lease is handed back and a waiting replica takes it at its next look.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from specdec.kube import errors
from specdec.kube.client import KubeClient
from specdec.kube.kinds import LEASE, Name

log = structlog.get_logger(__name__)

MARGIN_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """duration: after this long without renewal others may take it. renew, look: how often holders and waiters ask.

    attempt: the limit of one request; retry: the pause after one that failed.
    """

    duration_seconds: float = 15.0
    renew_seconds: float = 5.0
    look_seconds: float = 2.0
    attempt_seconds: float = 3.0
    retry_seconds: float = 1.0


@dataclass(slots=True)
class Election:
    """Takes and keeps the lease `name` for `identity`.

    started: called on taking it, stopped: on losing it; both at once and without waiting.
    """

    client: KubeClient
    name: Name
    identity: str
    started: Callable[[], None]
    stopped: Callable[[], None]
    times: LeaseTimes = LeaseTimes()
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    holder: str = ""
    _valid_until: float = 0.0
    _record: dict[str, Any] = field(default_factory=dict)
    _record_since: float = 0.0
    _leading: bool = False

    def write_seconds(self) -> float:
        """How long a write that begins now may take, 0 for a replica that may not write."""
        return max(self._valid_until - MARGIN_SECONDS - _clock(), 0.0) if self._leading else 0.0

    def may_write(self) -> bool:
        """Whether this replica holds the lease."""
        return self.write_seconds() > 0.0

    async def run(self) -> None:
        """Until cancelled: wait for the lease, hold it, wait again."""
        while True:
            reached = await self._step()
            self._notice_expiry()
            await asyncio.sleep(self._pause(reached) * random.uniform(0.9, 1.0))  # noqa: S311 - spreads replicas

    async def release(self) -> None:
        """Hand the lease back; the others need not wait for it to expire."""
        if not self._leading:
            return
        self._stop("handed back")
        spec = {
            **self._record.get("spec", {}),
            "holderIdentity": "",
            "leaseDurationSeconds": 1,
            "renewTime": self._time(),
        }
        try:
            await self.client.replace({**self._record, "spec": spec}, fenced=False)
        except errors.KubeError as error:
            log.warning("lease not handed back, others wait for it to expire", lease=str(self.name), error=str(error))

    def _attempt_seconds(self) -> float:
        """A holder waits for no answer beyond the time at which it has to stop."""
        return min(self.times.attempt_seconds, self.write_seconds()) if self._leading else self.times.attempt_seconds

    def _pause(self, reached: bool) -> float:
        if not reached:
            return self.times.retry_seconds
        return self.times.renew_seconds if self._leading else self.times.look_seconds

    async def _step(self) -> bool:
        """One look or renewal; whether the record was read or written as intended."""
        before = _clock()
        try:
            async with asyncio.timeout(self._attempt_seconds()):
                wrote = await (self._renew() if self._leading else self._try())
        except errors.Conflict:
            # Someone wrote between our read and our write, or an earlier write of ours landed late.
            await self._look_again()
            return False
        except (errors.KubeError, TimeoutError) as error:
            log.warning("lease not reached", lease=str(self.name), leading=self._leading, error=str(error))
            return False
        if wrote:
            self._valid_until = before + self.times.duration_seconds
            self._start()
        return True

    async def _renew(self) -> bool:
        spec = {**self._record["spec"], "renewTime": self._time()}
        self._take(await self.client.replace({**self._record, "spec": spec}, fenced=False))
        return True

    async def _try(self) -> bool:
        try:
            self._take(await self.client.get(LEASE, self.name))
        except errors.NotFound:
            self._take(await self.client.create(self._fresh(), fenced=False))
            return True
        if self._free():
            changes = int(self._record["spec"].get("leaseTransitions") or 0) + 1
            self._take(await self.client.replace({**self._record, "spec": self._spec(changes)}, fenced=False))
            return True
        return False

    async def _look_again(self) -> None:
        try:
            async with asyncio.timeout(self.times.attempt_seconds):
                self._take(await self.client.get(LEASE, self.name))
        except (errors.KubeError, TimeoutError) as error:
            log.warning("lease not reached", lease=str(self.name), leading=self._leading, error=str(error))
        if self._leading and self.holder != self.identity:
            self._stop("taken by another replica")

    def _free(self) -> bool:
        """Nobody's, ours from an earlier life, or not renewed for its duration as seen from here."""
        spec = self._record["spec"]
        duration = float(spec.get("leaseDurationSeconds") or self.times.duration_seconds)
        return self.holder in ("", self.identity) or _clock() >= self._record_since + duration

    def _take(self, record: dict[str, Any]) -> None:
        version = record["metadata"]["resourceVersion"]
        if version != self._record.get("metadata", {}).get("resourceVersion"):
            self._record_since = _clock()
        self._record = record
        self.holder = record.get("spec", {}).get("holderIdentity") or ""

    def _notice_expiry(self) -> None:
        if self._leading and _clock() >= self._valid_until - MARGIN_SECONDS:
            self._stop("not renewed in time")

    def _start(self) -> None:
        if not self._leading:
            self._leading = True
            log.info("leading", lease=str(self.name), identity=self.identity)
            self.started()

    def _stop(self, why: str) -> None:
        self._leading = False
        log.info("no longer leading", lease=str(self.name), identity=self.identity, why=why)
        self.stopped()

    def _fresh(self) -> dict[str, Any]:
        return {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.name,
            "metadata": {"namespace": self.name.namespace, "name": self.name.name},
            "spec": self._spec(0),
        }

    def _spec(self, transitions: int) -> dict[str, Any]:
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": round(self.times.duration_seconds),
            "acquireTime": self._time(),
            "renewTime": self._time(),
            "leaseTransitions": transitions,
        }

    def _time(self) -> str:
        return self.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _clock() -> float:
    return asyncio.get_running_loop().time()
