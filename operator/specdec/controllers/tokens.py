"""The control token: made once at random, kept in a Secret of the resource, read by the engines and by us.

It is made anew only when the Secret is gone: deleting it is how a user rotates it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import secrets
from dataclasses import dataclass
from typing import Final

import structlog

from specdec.api import names
from specdec.api.resource import SpeculativeDeployment
from specdec.api.sources import SecretKey
from specdec.controllers.children import Children
from specdec.controllers.difference import Difference, Write
from specdec.controllers.standing import Standing
from specdec.desired import control_secret
from specdec.kube import errors
from specdec.kube.client import KubeClient
from specdec.kube.kinds import SECRET, Name

log = structlog.get_logger(__name__)

TOKEN_BYTES: Final = 32
LOOK_AGAIN_SECONDS: Final = 600.0
# A pod that cannot mount a missing Secret says so in an event only, which nobody watches.
LOOK_AGAIN_WHILE_PODS_WAIT_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Tokens:
    """Keeps `Standing.token` and `Standing.api_key` true."""

    client: KubeClient
    children: Children

    async def ensure(self, resource: SpeculativeDeployment, standing: Standing, *, pods_wait: bool = False) -> None:
        """Read the Secret now and then, sooner while `pods_wait`, and make it where it is missing."""
        clock = asyncio.get_running_loop().time()
        age = LOOK_AGAIN_WHILE_PODS_WAIT_SECONDS if pods_wait else LOOK_AGAIN_SECONDS
        if standing.token is not None and clock - standing.token_at < age:
            return
        found = await self._read(resource.namespace, names.control_secret(resource.name), names.CONTROL_TOKEN_KEY)
        standing.token = found or await self._make(resource)
        standing.token_at = clock
        reference = resource.spec.engine.api_key_secret_ref
        standing.api_key = await self._api_key(resource.namespace, reference) if reference else None

    def doubt(self, standing: Standing) -> None:
        """An engine refused the token: read the Secret again before the next exchange."""
        standing.token = None

    async def _make(self, resource: SpeculativeDeployment) -> str | None:
        token = secrets.token_urlsafe(TOKEN_BYTES)
        refused = await self.children.write(Difference((Write(control_secret(resource, token), "missing"),), ()))
        for refusal in refused:
            where = {"resource": resource.name, "namespace": resource.namespace}
            log.warning("control token not stored", why=refusal.message, **where)
        return None if refused else token

    async def _api_key(self, namespace: str, reference: SecretKey) -> str | None:
        return await self._read(namespace, reference.name, reference.key)

    async def _read(self, namespace: str, name: str, key: str) -> str | None:
        try:
            data = (await self.client.get(SECRET, Name(namespace, name))).get("data") or {}
        except errors.NotFound:
            return None
        try:
            return base64.b64decode(data[key], validate=True).decode() or None
        except (KeyError, binascii.Error, UnicodeDecodeError):
            return None
