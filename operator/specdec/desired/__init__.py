"""Spec and accepted decision -> manifests. Pure: same arguments, same manifests.

accepted = pin(resource, accepted)             # store it if it changed
difference(manifests(resource, accepted), live_children)
"""

from specdec.desired.inputs import RestartReason
from specdec.desired.kept import checkpoint, control_secret
from specdec.desired.plan import manifests, pin, restart_reason

__all__ = [
    "RestartReason",
    "checkpoint",
    "control_secret",
    "manifests",
    "pin",
    "restart_reason",
]
