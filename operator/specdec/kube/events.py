"""Events on a resource, as `kubectl describe` and `kubectl events` show them; the same words are not said twice."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from specdec.api.event import Event
from specdec.kube import errors
from specdec.kube.client import FIELD_MANAGER, KubeClient
from specdec.kube.kinds import EVENT

log = structlog.get_logger(__name__)

MESSAGE_LIMIT_BYTES: Final = 1024
QUIET_SECONDS: Final = 3600.0
REMEMBERED: Final = 4096

Key = tuple[str, str, str]


@dataclass(slots=True)
class Recorder:
    """Posts events; one that cannot be posted is logged and forgotten, it must not hold up the work it tells of.

    instance: who we are among the replicas.
    """

    client: KubeClient
    instance: str
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _said: OrderedDict[Key, float] = field(default_factory=OrderedDict)

    async def post(self, about: dict[str, Any], event: Event) -> None:
        """Tell `event` of the object `about`, unless the same was told of it within the last hour."""
        if self._repeats(_key(about, event)):
            return
        try:
            await self.client.create(self._manifest(about, event))
        except errors.KubeError as error:
            self._said.pop(_key(about, event), None)
            log.warning("event not posted", reason=event.reason, error=str(error))

    def _repeats(self, key: Key) -> bool:
        clock = asyncio.get_running_loop().time()
        told = self._said.pop(key, None)
        self._said[key] = clock if told is None or clock - told >= QUIET_SECONDS else told
        while len(self._said) > REMEMBERED:
            self._said.popitem(last=False)
        return self._said[key] != clock

    def _manifest(self, about: dict[str, Any], event: Event) -> dict[str, Any]:
        metadata, time = about["metadata"], self.now()
        seconds = time.strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.name,
            "metadata": {"namespace": metadata["namespace"], "name": f"{metadata['name']}.{secrets.token_hex(8)}"},
            "type": event.type,
            "reason": event.reason,
            "message": _shortened(event.message),
            "action": event.reason,
            "eventTime": time.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "firstTimestamp": seconds,
            "lastTimestamp": seconds,
            "count": 1,
            "reportingComponent": FIELD_MANAGER,
            "reportingInstance": self.instance,
            "source": {"component": FIELD_MANAGER},
            "involvedObject": {
                "apiVersion": about["apiVersion"],
                "kind": about["kind"],
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
            },
        }


def _key(about: dict[str, Any], event: Event) -> Key:
    return about["metadata"]["uid"], event.reason, event.message


def _shortened(message: str) -> str:
    encoded = message.encode()
    if len(encoded) <= MESSAGE_LIMIT_BYTES:
        return message
    return encoded[: MESSAGE_LIMIT_BYTES - len("…".encode())].decode(errors="ignore") + "…"
