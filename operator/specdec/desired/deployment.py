"""The Deployments: the stable one, and one for a restart trial."""

from __future__ import annotations

import json
from typing import Final

from specdec.api import names
from specdec.api.decision import Rendered
from specdec.api.manifest import Manifest
from specdec.api.names import Role
from specdec.api.resource import SpeculativeDeployment
from specdec.desired.metadata import child
from specdec.desired.probes import grace_period_seconds

REVISIONS_KEPT: Final = 2
# Beyond loading and draining: pulling an image of some 10 GB and waiting for a node.
PROGRESS_MARGIN_SECONDS: Final = 600


def deployment(resource: SpeculativeDeployment, role: Role, replicas: int, rendered: Rendered) -> Manifest:
    """The Deployment of `role` with `replicas` pods of the template that was `rendered`."""
    spec = resource.spec
    deadline = spec.engine.startup_timeout_seconds + grace_period_seconds(spec.engine) + PROGRESS_MARGIN_SECONDS
    rolling = {"maxUnavailable": spec.rollout.max_unavailable, "maxSurge": spec.rollout.max_surge}
    content = {
        "replicas": replicas,
        "paused": spec.paused,
        "revisionHistoryLimit": REVISIONS_KEPT,
        "progressDeadlineSeconds": deadline,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
        "selector": {"matchLabels": {**names.selector(resource.name), names.LABEL_ROLE: role.value}},
        "template": rendered.template,
    }
    name = names.deployment(resource.name, role)
    noted = {names.ANNOTATION_INPUTS: json.dumps(rendered.inputs, sort_keys=True, separators=(",", ":"))}
    labels = {names.LABEL_ROLE: role.value}
    kind = ("apps/v1", "Deployment")
    return child(resource, kind, name, {"spec": content}, extra_labels=labels, annotations=noted)
