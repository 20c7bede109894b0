"""Spec and accepted decision -> manifests. Pure: same arguments, same manifests.

Store `pin(resource, accepted)` if it differs from `accepted`, then apply what of
`manifests(resource, accepted)` differs.
"""

from specdec.desired.inputs import RestartReason
from specdec.desired.kept import checkpoint, control_secret
from specdec.desired.plan import manifests, pin, restart_reason
from specdec.desired.probes import grace_period_seconds
from specdec.desired.start import every_k

__all__ = [
    "RestartReason",
    "checkpoint",
    "control_secret",
    "every_k",
    "grace_period_seconds",
    "manifests",
    "pin",
    "restart_reason",
]
