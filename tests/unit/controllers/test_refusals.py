"""What is advised when the API server refuses a child: its words decide, not its status alone."""

from __future__ import annotations

import pytest

from specdec.api.manifest import Reference
from specdec.controllers.refusals import refusal
from specdec.kube.errors import from_status

CHILD = Reference("v1", "ConfigMap", "team-a", "demo-checkpoint")


# The server's own words; quota, right, policy and missing kind come from a real one in tests/integration.
@pytest.mark.parametrize(
    ("status", "said", "remedy"),
    [
        pytest.param(
            403,
            'configmaps "x" is forbidden: exceeded quota: none, requested: count/configmaps=1',
            "ResourceQuota",
            id="quota",
        ),
        pytest.param(
            403,
            'configmaps "x" is forbidden: User "u" cannot create resource "configmaps" in API group ""',
            "grant the operator this right",
            id="right",
        ),
        pytest.param(
            403,
            'configmaps "x" is forbidden: unable to create new content in namespace a because it is being terminated',
            "being deleted",
            id="namespace",
        ),
        pytest.param(
            403, 'admission webhook "policy.example.com" denied the request: no', "cluster's policy", id="webhook"
        ),
        pytest.param(
            422,
            "deployments.apps \"x\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
            "cluster's policy",
            id="policy",
        ),
        pytest.param(404, "404 page not found", "install the definition", id="kind"),
        pytest.param(422, "spec.ports[0].port: Invalid value", "correct the part of the spec", id="content"),
    ],
)
def test_each_refusal_has_its_own_remedy(status: int, said: str, remedy: str) -> None:
    told = refusal(CHILD, from_status(status, "apply /x", said.encode()))
    assert said in told.message
    assert remedy in told.remedy
