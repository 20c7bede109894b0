"""Children whose content is not rendered but remembered: made once, then left to the controllers."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from specdec.api import names
from specdec.api.manifest import Manifest
from specdec.api.resource import SpeculativeDeployment
from specdec.desired.metadata import child


def control_secret(resource: SpeculativeDeployment, token: str) -> Manifest:
    """The Secret with the control token. Make it once with a random token, and keep the token that is there."""
    content = {"type": "Opaque", "data": {names.CONTROL_TOKEN_KEY: base64.b64encode(token.encode()).decode()}}
    return child(resource, ("v1", "Secret"), names.control_secret(resource.name), content)


def checkpoint(resource: SpeculativeDeployment, data: Mapping[str, str]) -> Manifest:
    """The ConfigMap that survives restarts of the operator; its data is the controllers' alone."""
    return child(resource, ("v1", "ConfigMap"), names.checkpoint(resource.name), {"data": dict(data)})
