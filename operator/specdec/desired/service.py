"""The Service through which clients reach all engines, stable and trial alike."""

from __future__ import annotations

from specdec.api import names
from specdec.api.manifest import Manifest
from specdec.api.resource import SpeculativeDeployment
from specdec.desired.metadata import child


def service(resource: SpeculativeDeployment) -> Manifest:
    """A ClusterIP Service of the resource's own name, on the engine's port."""
    port = {
        "name": names.HTTP_PORT_NAME,
        "port": names.HTTP_PORT,
        "targetPort": names.HTTP_PORT_NAME,
        "protocol": "TCP",
        "appProtocol": "http",
    }
    content = {"type": "ClusterIP", "selector": names.selector(resource.name), "ports": [port]}
    return child(resource, ("v1", "Service"), names.service(resource.name), {"spec": content})
