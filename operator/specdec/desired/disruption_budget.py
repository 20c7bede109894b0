"""The PodDisruptionBudget."""

from __future__ import annotations

from specdec.api import names
from specdec.api.manifest import Manifest
from specdec.api.resource import SpeculativeDeployment
from specdec.desired.metadata import child


def pod_disruption_budget(resource: SpeculativeDeployment) -> Manifest:
    """Node drains take one engine at a time; one that does not serve anyway may always go."""
    content = {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": names.selector(resource.name)},
    }
    name = names.pod_disruption_budget(resource.name)
    return child(resource, ("policy/v1", "PodDisruptionBudget"), name, {"spec": content})
