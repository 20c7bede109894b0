"""The PodMonitor, for users of the Prometheus operator."""

from __future__ import annotations

from specdec.api import names
from specdec.api.manifest import Manifest
from specdec.api.resource import SpeculativeDeployment
from specdec.desired.metadata import child


def pod_monitor(resource: SpeculativeDeployment) -> Manifest | None:
    """The PodMonitor, where `spec.monitoring.podMonitor` asks for one."""
    if not resource.spec.monitoring.pod_monitor:
        return None
    interval = f"{resource.spec.monitoring.scrape_interval_seconds}s"
    content = {
        "selector": {"matchLabels": names.selector(resource.name)},
        "podMetricsEndpoints": [{"port": names.HTTP_PORT_NAME, "path": "/metrics", "interval": interval}],
        "podTargetLabels": [names.LABEL_OWNER, names.LABEL_ROLE],
    }
    name = names.pod_monitor(resource.name)
    return child(resource, ("monitoring.coreos.com/v1", "PodMonitor"), name, {"spec": content})
