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

from specdec.api import names
from specdec.api.manifest import Json, Reference
from specdec.api.resource import SpeculativeDeployment
from specdec.controllers.children import Children
from specdec.controllers.difference import Difference, Write
from specdec.controllers.refusals import refusal
from specdec.controllers.standing import Standing
from specdec.desired import control_secret
from specdec.kube import errors
from specdec.kube.client import KubeClient
from specdec.kube.kinds import SECRET, Name
from specdec.observed import Refusal

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
        """Read the Secret now and then, sooner while `pods_wait` or it is refused, and make it where it is missing."""
        clock = asyncio.get_running_loop().time()
        patient = standing.token is not None and not standing.token_refusals and not pods_wait
        age = LOOK_AGAIN_SECONDS if patient else LOOK_AGAIN_WHILE_PODS_WAIT_SECONDS
        if standing.token_at is not None and clock - standing.token_at < age:
            return
        standing.token_refusals = await self._look(resource, standing)
        standing.token_at = clock

    def doubt(self, standing: Standing) -> None:
        """An engine refused the token: read the Secret again before the next exchange."""
        standing.token, standing.token_at = None, None

    async def _look(self, resource: SpeculativeDeployment, standing: Standing) -> tuple[Refusal, ...]:
        name = names.control_secret(resource.name)
        try:
            data = await self._data(resource.namespace, name)
            standing.token = _text(data, names.CONTROL_TOKEN_KEY)
            if standing.token is None and (refused := await self._make(resource, standing, vacant=data is None)):
                return refused
            if key := resource.spec.engine.api_key_secret_ref:
                name = key.name
                standing.api_key = _text(await self._data(resource.namespace, key.name), key.key)
        except errors.Forbidden as error:
            return (refusal(Reference(SECRET.api_version, SECRET.name, resource.namespace, name), error),)
        return ()

    async def _make(self, resource: SpeculativeDeployment, standing: Standing, *, vacant: bool) -> tuple[Refusal, ...]:
        token = secrets.token_urlsafe(TOKEN_BYTES)
        write = Write(control_secret(resource, token), "missing", vacant=vacant)
        refused = await self.children.write(Difference((write,), ()))
        standing.token = None if refused else token
        return refused

    async def _data(self, namespace: str, name: str) -> Json | None:
        """What a Secret holds, None where there is no such Secret."""
        try:
            return (await self.client.get(SECRET, Name(namespace, name))).get("data") or {}
        except errors.NotFound:
            return None


def _text(data: Json | None, key: str) -> str | None:
    try:
        return base64.b64decode((data or {})[key], validate=True).decode() or None
    except (KeyError, binascii.Error, UnicodeDecodeError):
        return None
