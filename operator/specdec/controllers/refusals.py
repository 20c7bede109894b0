"""What is to be told of a child that the API server refused: its words, and the remedy that they call for. Pure."""

from __future__ import annotations

import re
from typing import Final

from specdec.api.manifest import Reference
from specdec.kube import errors
from specdec.observed import Refusal

# The server answers much that is no missing right with 403 too. The first pattern that its words fit counts.
REMEDIES: Final = (
    (
        re.compile(r"exceeded quota|status unknown for quota|failed quota"),
        "raise the ResourceQuota of the namespace, or remove what uses it up",
    ),
    (
        re.compile(r"because it is being terminated"),
        "the namespace is being deleted; make the resource in another",
    ),
    (
        re.compile(r"admission webhook .* denied the request|ValidatingAdmissionPolicy .* denied request"),
        "do as the cluster's policy says, or exempt objects with the operator's label from it",
    ),
    (
        re.compile(r"cannot \w+ resource"),
        "grant the operator this right; the chart's roles have it",
    ),
    (
        errors.KIND_UNKNOWN,
        "install the definition of this kind, or do not ask for it in the spec",
    ),
)


def refusal(child: Reference, error: errors.KubeError) -> Refusal:
    """`error` as what is to be told of `child`."""
    said = str(error)
    remedy = next((remedy for pattern, remedy in REMEDIES if pattern.search(said)), None)
    return Refusal(child, said) if remedy is None else Refusal(child, said, remedy=remedy)
