"""The ServiceAccount of the engine pods; it may do nothing and its token is not mounted."""

from __future__ import annotations

from specdec.api import names
from specdec.api.manifest import Manifest
from specdec.api.resource import SpeculativeDeployment
from specdec.desired.metadata import child


def service_account(resource: SpeculativeDeployment) -> Manifest:
    name = names.service_account(resource.name)
    return child(resource, ("v1", "ServiceAccount"), name, {"automountServiceAccountToken": False})
