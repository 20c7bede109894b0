"""All children of a resource, and the pinning of its pod templates."""

from __future__ import annotations

from collections.abc import Iterator

from specdec.api.decision import AcceptedDecision, Rendered, RestartTrial
from specdec.api.manifest import Manifest
from specdec.api.names import Role
from specdec.api.resource import SpeculativeDeployment
from specdec.desired import inputs
from specdec.desired.claim import cache_claim
from specdec.desired.deployment import deployment
from specdec.desired.disruption_budget import pod_disruption_budget
from specdec.desired.inputs import RestartReason
from specdec.desired.network_policy import network_policy
from specdec.desired.pod_monitor import pod_monitor
from specdec.desired.service import service
from specdec.desired.service_account import service_account
from specdec.desired.start import Start
from specdec.desired.template import pod_template


def manifests(resource: SpeculativeDeployment, accepted: AcceptedDecision) -> tuple[Manifest, ...]:
    """Every child that is rendered; the control Secret and the checkpoint are made by `kept`.

    What pods mount or run as comes before their Deployments. Apply only once `pin` has been stored.
    """
    beside = (
        service_account(resource),
        network_policy(resource),
        service(resource),
        pod_disruption_budget(resource),
        cache_claim(resource),
        pod_monitor(resource),
    )
    return (
        *(manifest for manifest in beside if manifest),
        *_deployments(resource, pin(resource, accepted)),
    )


def pin(resource: SpeculativeDeployment, accepted: AcceptedDecision) -> AcceptedDecision:
    """`accepted` with the templates its pods are to have; equal to it unless a template had to be rendered anew.

    Store the result before its manifests are applied, else an operator of another version may render otherwise.
    """
    stable = _pinned(resource, Role.STABLE, accepted, accepted.rendered)
    trial = accepted.trial
    if trial is None:
        return accepted.with_rendered(stable)
    return accepted.with_rendered(stable, _pinned(resource, Role.TRIAL, trial, trial.rendered))


def restart_reason(resource: SpeculativeDeployment, accepted: AcceptedDecision) -> RestartReason | None:
    """Why the stable pods must be replaced to follow spec and decision, or None.

    None also before the first were rendered.
    """
    if accepted.rendered is None:
        return None
    return inputs.restart_reason(accepted.rendered.inputs, resource, Start.of(resource.spec, accepted))


def _pinned(
    resource: SpeculativeDeployment, role: Role, chosen: AcceptedDecision | RestartTrial, rendered: Rendered | None
) -> Rendered:
    start = Start.of(resource.spec, chosen)
    if rendered and (resource.spec.paused or not inputs.restart_reason(rendered.inputs, resource, start)):
        return rendered
    return Rendered(template=pod_template(resource, role, start), inputs=inputs.inputs(resource, start))


def _deployments(resource: SpeculativeDeployment, pinned: AcceptedDecision) -> Iterator[Manifest]:
    trial = pinned.trial
    on_trial = min(trial.replicas, resource.spec.replicas) if trial else 0
    parts = (
        (Role.STABLE, resource.spec.replicas - on_trial, pinned.rendered),
        (Role.TRIAL, on_trial, trial.rendered if trial else None),
    )
    for role, replicas, rendered in parts:
        if rendered:
            yield deployment(resource, role, replicas, rendered)
