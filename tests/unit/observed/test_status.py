"""What users read in the status, from what the cluster shows."""

from dataclasses import replace
from typing import Any

import pytest

from specdec import observed
from specdec.api.conditions import Condition, Truth
from specdec.api.event import Event
from specdec.api.manifest import Reference
from specdec.api.names import Role
from specdec.api.report import Finding, TunerReport
from specdec.api.resource import Problem, SpeculativeDeployment, parse
from specdec.api.status import PerformanceStatus, SpeculationStatus, Status
from specdec.observed import Observation, Refusal, Snapshot
from tests.support.bad_inputs import BAD_INPUTS, Bad
from tests.support.cluster_facts import deployment, pod, seen
from tests.support.resource import resource, stored

NOON, LATER = "2026-01-01T12:00:00Z", "2026-01-01T12:05:00Z"
ALL_WELL = seen(deployment(), pod())
CHILD = Reference("v1", "Service", "default", "demo")


def look(
    snapshot: Snapshot,
    of: SpeculativeDeployment | None = None,
    *,
    before: Status | None = None,
    report: TunerReport | None = None,
    now: str = NOON,
) -> Observation:
    return observed.status(of or resource(), snapshot, report, now, before)


def truths(observation: Observation) -> dict[str, str]:
    return {entry.type: entry.status for entry in observation.status.conditions or ()}


def reason(observation: Observation, condition: Condition) -> tuple[str, str]:
    entry = observation.status.condition(condition)
    assert entry
    return entry.status, entry.reason


@pytest.mark.parametrize(
    ("snapshot", "spec", "ready", "reconciling"),
    [
        pytest.param(ALL_WELL, {}, ("True", "AllReplicasReady"), ("False", "UpToDate"), id="all replicas serve"),
        pytest.param(
            seen(), {}, ("False", "ReplicasNotReady"), ("True", "RolloutNotObserved"), id="nothing exists yet"
        ),
        pytest.param(
            seen(deployment(behind=True)),
            {},
            ("False", "ReplicasNotReady"),
            ("True", "RolloutNotObserved"),
            id="the Deployment controller has not looked yet",
        ),
        pytest.param(
            seen(deployment(3, updated=1)),
            {"replicas": 3},
            ("False", "ReplicasNotReady"),
            ("True", "RolloutInProgress"),
            id="two pods of three are old",
        ),
        pytest.param(
            seen(deployment(2, ready=1)),
            {"replicas": 2},
            ("False", "ReplicasNotReady"),
            ("True", "RolloutInProgress"),
            id="one pod of two loads",
        ),
        pytest.param(
            seen(deployment(3)),
            {"replicas": 2},
            ("False", "ReplicasNotReady"),
            ("True", "RolloutInProgress"),
            id="one pod is still to go",
        ),
        pytest.param(
            seen(deployment(2, updated=1)),
            {"replicas": 2, "paused": True},
            ("False", "ReplicasNotReady"),
            ("False", "Paused"),
            id="a paused rollout does not move",
        ),
        pytest.param(
            replace(ALL_WELL, held="spec.engine.image changed"),
            {"paused": True},
            ("False", "ReplicasNotReady"),
            ("False", "Paused"),
            id="an edit of the template waits for the end of a pause",
        ),
        pytest.param(
            seen(deployment(0)),
            {"replicas": 0},
            ("True", "ScaledToZero"),
            ("False", "UpToDate"),
            id="nothing was asked for",
        ),
        pytest.param(
            seen(deployment(1), deployment(1, role=Role.TRIAL)),
            {"replicas": 2},
            ("True", "AllReplicasReady"),
            ("False", "UpToDate"),
            id="a trial counts as a replica",
        ),
        pytest.param(
            seen(deployment(2, ready=3, updated=3)),
            {"replicas": 3},
            ("True", "AllReplicasReady"),
            ("False", "UpToDate"),
            id="figures that run ahead of each other",
        ),
    ],
)
def test_the_rollout_is_told(
    snapshot: Snapshot, spec: dict[str, Any], ready: tuple[str, str], reconciling: tuple[str, str]
) -> None:
    observation = look(snapshot, resource(**spec))
    assert reason(observation, Condition.READY) == ready
    assert reason(observation, Condition.RECONCILING) == reconciling
    assert reason(observation, Condition.STALLED) == ("False", "Progressing")


def test_the_status_counts_stable_and_trial_pods_for_the_autoscaler() -> None:
    status = look(seen(deployment(2, ready=1), deployment(1, role=Role.TRIAL)), resource(replicas=3)).status
    assert (status.replicas, status.ready_replicas, status.updated_replicas) == (3, 2, 3)
    assert status.selector == "app.kubernetes.io/name=specdec-engine,specdec.dev/resource=demo"
    assert status.observed_generation == 1


def test_every_condition_is_always_there_in_one_order() -> None:
    entries = look(seen()).status.conditions or ()
    assert [entry.type for entry in entries] == list(Condition)
    assert all(entry.observed_generation == 1 for entry in entries)


def test_a_second_look_at_the_same_world_changes_nothing_and_tells_nothing() -> None:
    first = look(ALL_WELL)
    second = look(ALL_WELL, before=first.status, now=LATER)
    assert second.status == first.status
    assert second.events == ()


def test_only_what_changes_gets_a_new_time() -> None:
    first = look(seen(deployment(1, ready=0), pod(ready=False)))
    entries = {entry.type: entry for entry in look(ALL_WELL, before=first.status, now=LATER).status.conditions or ()}
    assert entries[Condition.READY].last_transition_time == LATER
    assert entries[Condition.STALLED].last_transition_time == NOON


def test_the_tuners_report_is_shown() -> None:
    report = TunerReport(
        speculation=SpeculationStatus(num_speculative_tokens=5),
        performance=PerformanceStatus(tokens_per_second=900),
        findings={
            Condition.TUNED: Finding(Truth.FALSE, "TooFewDrafts", "12 of 1000 drafts seen"),
            Condition.READY: Finding(Truth.FALSE, "Nonsense", "not the tuner's to say"),
        },
    )
    observation = look(ALL_WELL, report=report)
    assert observation.status.speculation == report.speculation
    assert observation.status.performance == report.performance
    assert reason(observation, Condition.TUNED) == ("False", "TooFewDrafts")
    assert reason(observation, Condition.READY) == ("True", "AllReplicasReady")
    assert reason(observation, Condition.METRICS_AVAILABLE) == ("Unknown", "NotYetMeasured")
    assert reason(look(ALL_WELL), Condition.TRIAL_IN_PROGRESS) == ("False", "NoTrial")


def test_becoming_ready_and_ceasing_to_be_are_told_once() -> None:
    down = seen(deployment(1, ready=0), pod(ready=False))
    first = look(down)
    up = look(ALL_WELL, before=first.status)
    assert [(event.type, event.reason) for event in up.events] == [("Normal", "BecameReady")]
    again = look(down, before=up.status)
    assert [(event.type, event.reason) for event in again.events] == [("Warning", "NoLongerReady")]
    assert first.events == ()


def test_trouble_is_told_when_it_begins_when_it_changes_and_when_it_ends() -> None:
    missing = ("CreateContainerConfigError", 'secret "hub" not found')
    stuck = seen(deployment(ready=0), pod(ready=False, waiting=missing))
    unpulled = seen(deployment(ready=0), pod(ready=False, waiting=("ImagePullBackOff", "not found")))
    begun = look(stuck)
    assert [(event.type, event.reason) for event in begun.events] == [("Warning", "SecretMissing")]
    assert look(stuck, before=begun.status).events == ()
    changed = look(unpulled, before=begun.status)
    assert [event.reason for event in changed.events] == ["ImagePullFailed"]
    ended = look(ALL_WELL, before=changed.status)
    assert {event.reason for event in ended.events} == {"BecameReady", "Recovered"}


def test_a_finding_of_the_tuner_that_turns_bad_is_a_warning_and_its_end_is_told() -> None:
    slow = Finding(Truth.FALSE, "SlowerThanWithout", "speculation costs 12 %")
    fast = Finding(Truth.TRUE, "Measured", "speculation gains 12 %")
    bad = look(ALL_WELL, report=TunerReport(findings={Condition.SPECULATION_BENEFICIAL: slow}))
    assert Event("Warning", "SlowerThanWithout", "speculation costs 12 %") in bad.events
    same = look(ALL_WELL, before=bad.status, report=TunerReport(findings={Condition.SPECULATION_BENEFICIAL: slow}))
    assert same.events == ()
    good = look(ALL_WELL, before=bad.status, report=TunerReport(findings={Condition.SPECULATION_BENEFICIAL: fast}))
    assert good.events == (Event("Normal", "Recovered", "speculation gains 12 %"),)


@pytest.mark.parametrize(
    ("refusal", "expected", "said"),
    [
        (Refusal(CHILD, "admission webhook says no"), "ChildRefused", "Service default/demo was refused: admission"),
        (Refusal(CHILD, "", taken=True), "ChildNameTaken", "give this resource another name"),
    ],
)
def test_a_child_that_cannot_be_written_stalls(refusal: Refusal, expected: str, said: str) -> None:
    observation = look(replace(ALL_WELL, refusals=(refusal,)))
    assert reason(observation, Condition.STALLED) == ("True", expected)
    entry = observation.status.condition(Condition.STALLED)
    assert entry
    assert said in entry.message


@pytest.mark.parametrize(
    ("kind", "ready", "reconciling"),
    [
        ("Deployment", ("False", "ReplicasNotReady"), ("True", "RolloutNotObserved")),
        ("ConfigMap", ("False", "ReplicasNotReady"), ("True", "RolloutNotObserved")),
        ("PodMonitor", ("True", "AllReplicasReady"), ("False", "UpToDate")),
        ("PodDisruptionBudget", ("True", "AllReplicasReady"), ("False", "UpToDate")),
    ],
)
def test_pods_are_not_up_to_date_while_what_they_follow_is_refused(
    kind: str, ready: tuple[str, str], reconciling: tuple[str, str]
) -> None:
    """Else `kubectl wait --for=condition=Ready` passes on a new generation while the old image runs."""
    refusal = Refusal(Reference("v1", kind, "default", "demo"), "a policy says no")
    observation = look(replace(ALL_WELL, refusals=(refusal,)))
    assert reason(observation, Condition.READY) == ready
    assert reason(observation, Condition.RECONCILING) == reconciling


@pytest.mark.parametrize(
    ("condition", "expected", "said"),
    [
        (
            {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: gpus"},
            "PodRefused",
            "exceeded quota: gpus; raise the quota",
        ),
        (
            {
                "type": "Progressing",
                "status": "False",
                "reason": "ProgressDeadlineExceeded",
                "message": "ReplicaSet has timed out progressing.",
            },
            "RolloutDeadlineExceeded",
            "kubectl describe",
        ),
    ],
)
def test_what_the_deployment_says_is_passed_on(condition: dict[str, str], expected: str, said: str) -> None:
    observation = look(seen(deployment(ready=0, conditions=(condition,))))
    assert reason(observation, Condition.STALLED) == ("True", expected)
    entry = observation.status.condition(Condition.STALLED)
    assert entry
    assert said in entry.message


def test_a_condition_of_the_deployment_that_is_well_stalls_nothing() -> None:
    fine = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}
    assert reason(look(seen(deployment(conditions=(fine,)), pod())), Condition.STALLED)[0] == "False"


@pytest.mark.parametrize("bad", BAD_INPUTS, ids=lambda bad: bad.id)
def test_what_slipped_past_admission_stalls_with_the_same_words(bad: Bad) -> None:
    problems = parse(stored(bad.name, **bad.spec))
    assert isinstance(problems, tuple)
    observation = observed.invalid(problems, 4, NOON, Status())
    entry = observation.status.condition(Condition.STALLED)
    assert entry
    assert (entry.status, entry.reason, entry.observed_generation) == ("True", "InvalidSpec", 4)
    assert f"{bad.path}: {bad.said}" in entry.message
    assert [event.reason for event in observation.events] == ["InvalidSpec"]


def test_an_invalid_edit_leaves_what_was_known() -> None:
    before = look(ALL_WELL).status
    problems = tuple(Problem(f"spec.field{i}", "is wrong; correct it") for i in range(7))
    after = observed.invalid(problems, 2, LATER, before)
    assert truths(after) | {"Ready": "True", "Stalled": "False"} == truths(look(ALL_WELL))
    assert (after.status.replicas, after.status.observed_generation) == (1, 2)
    entry = after.status.condition(Condition.STALLED)
    assert entry
    assert entry.message.endswith("; and 2 more")


def test_kstatus_reads_the_conditions_as_it_should() -> None:
    """`kubectl wait --for=condition=Ready`, Argo CD and Flux look at these three."""
    well, moving = look(ALL_WELL), look(seen(deployment(1, ready=0)))
    assert {truths(well)[c] for c in ("Reconciling", "Stalled")} == {"False"}
    assert truths(well)["Ready"] == "True"
    assert (truths(moving)["Ready"], truths(moving)["Reconciling"]) == ("False", "True")
