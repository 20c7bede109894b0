"""Pods restart when a named fact changed, and never because the operator is another version."""

from dataclasses import replace
from typing import Any

import pytest

from specdec import desired
from specdec.api import names
from specdec.api.decision import AcceptedDecision, Rendered, RestartTrial
from specdec.api.schedule import constant, from_table
from specdec.desired.inputs import FACTS, inputs
from specdec.desired.start import Start
from tests.support.resource import resource

LIVE = AcceptedDecision(1, "Live", 7)


def pinned(accepted: AcceptedDecision = LIVE, **spec: Any) -> AcceptedDecision:
    return desired.pin(resource(**spec), accepted)


def reason(accepted: AcceptedDecision, **spec: Any) -> str | None:
    found = desired.restart_reason(resource(**spec), accepted)
    return found.reason if found else None


@pytest.mark.parametrize(
    ("spec", "because"),
    [
        ({"engine": {"image": "specdec/vllm:2"}}, "ImageChanged"),
        ({"model": {"servedName": "flash"}}, "ModelChanged"),
        ({"model": {"source": {"huggingFace": {"revision": "abc"}}}}, "ModelChanged"),
        ({"speculator": {"source": {"huggingFace": {"revision": "abc"}}}}, "SpeculatorChanged"),
        ({"engine": {"parallelism": {"tensor": 8}}}, "ParallelismChanged"),
        ({"engine": {"gpuMemoryUtilization": "800m"}}, "EngineLimitsChanged"),
        ({"engine": {"shmSize": "1Gi"}}, "EngineLimitsChanged"),
        ({"engine": {"args": ["--seed=1"]}}, "ArgumentsChanged"),
        ({"engine": {"env": [{"name": "A", "value": "b"}]}}, "EnvironmentChanged"),
        ({"engine": {"apiKeySecretRef": {"name": "a", "key": "b"}}}, "EnvironmentChanged"),
        ({"engine": {"cache": {"size": "1Ti"}}}, "CacheVolumeChanged"),
        ({"engine": {"drainSeconds": 7}}, "TimingChanged"),
        ({"engine": {"resources": {"requests": {"cpu": "4"}}}}, "ResourcesChanged"),
        ({"placement": {"nodeSelector": {"pool": "gpu"}}}, "PlacementChanged"),
        ({"podTemplate": {"metadata": {"labels": {"a": "b"}}}}, "PodTemplateChanged"),
        ({"tuning": {"switching": "Restart"}}, "StartValueChanged"),
        ({"engine": {"image": "specdec/vllm:2", "args": ["--seed=1"]}}, "ImageChanged"),
    ],
)
def test_a_change_restarts_for_a_reason(spec: dict[str, Any], because: str) -> None:
    accepted = pinned()
    assert reason(accepted, **spec) == because
    assert pinned(accepted, **spec).rendered != accepted.rendered


@pytest.mark.parametrize(
    "spec",
    [
        {"replicas": 5},
        {"tuning": {"min": 2, "max": 5}},
        {"tuning": {"mode": "Off"}},
        {"tuning": {"switching": "Live"}},
        {"tuning": {"objective": {"constraints": [{"metric": "TimeToFirstToken", "max": "1s"}]}}},
        {"tuning": {"window": "2h", "cooldown": "1m", "minDrafts": 5, "minGainPercent": 9}},
        {"tuning": {"disruption": {"maxRestartsPerDay": 0}}},
        {"rollout": {"maxUnavailable": 2}},
        {"monitoring": {"scrapeIntervalSeconds": 5, "podMonitor": True}},
    ],
)
def test_bounds_policy_and_numbers_restart_nothing(spec: dict[str, Any]) -> None:
    accepted = pinned()
    assert reason(accepted, **spec) is None
    assert pinned(accepted, **spec) == accepted


def test_growing_the_claim_restarts_nothing() -> None:
    accepted = pinned(engine={"cache": {"size": "1Ti"}})
    assert reason(accepted, engine={"cache": {"size": "2Ti"}}) is None


def test_a_live_schedule_restarts_nothing() -> None:
    accepted = pinned()
    moved = replace(accepted, revision=2, schedule=from_table([7] * 16 + [3] * 240), off=True)
    assert pinned(moved) == moved


def test_another_start_value_restarts() -> None:
    accepted = pinned(AcceptedDecision(1, "Restart", 7), tuning={"switching": "Restart"})
    moved = replace(accepted, start_k=4)
    assert reason(moved, tuning={"switching": "Restart"}) == "StartValueChanged"
    scheduled = replace(accepted, schedule=constant(7, 256))
    assert reason(scheduled, tuning={"switching": "Restart"}) == "StartValueChanged"


def test_a_user_may_ask_for_a_restart() -> None:
    accepted, asking = pinned(), resource(annotations={names.ANNOTATION_RESTART: "today"})
    found = desired.restart_reason(asking, accepted)
    assert found
    assert found.reason == "RestartRequested"
    again = desired.pin(asking, accepted)
    assert again.rendered
    assert again.rendered.template["metadata"]["annotations"][names.ANNOTATION_RESTART] == "today"
    assert desired.restart_reason(asking, again) is None


def test_nothing_is_rendered_anew_while_paused() -> None:
    accepted = pinned()
    assert pinned(accepted, paused=True, engine={"image": "specdec/vllm:2"}) == accepted


def test_there_is_no_reason_before_the_first_rendering() -> None:
    assert reason(LIVE) is None
    assert pinned().rendered is not None


def test_a_template_of_another_version_is_kept() -> None:
    older = Rendered(template={"spec": {"rendered": "otherwise"}}, inputs=_known(pinned()).inputs)
    accepted = replace(LIVE, rendered=older)
    assert pinned(accepted).rendered == older
    deployment = desired.manifests(resource(), accepted)[-1]
    assert deployment.body["spec"]["template"] == older.template


def test_a_field_that_an_older_version_did_not_know_restarts_only_when_it_is_used() -> None:
    rendered = _known(pinned())
    limits = {key: value for key, value in rendered.inputs["limits"].items() if key != "shmSize"}
    without = {key: value for key, value in rendered.inputs.items() if key != "arguments"} | {"limits": limits}
    accepted = replace(LIVE, rendered=replace(rendered, inputs=without))
    assert reason(accepted) is None
    assert reason(accepted, engine={"shmSize": "1Gi"}) == "EngineLimitsChanged"
    assert reason(accepted, engine={"args": ["--seed=1"]}) == "ArgumentsChanged"


def test_a_field_that_a_newer_version_adds_to_items_of_a_list_restarts_nothing() -> None:
    tolerating: dict[str, Any] = {"placement": {"tolerations": [{"key": "team", "operator": "Exists"}]}}
    rendered = _known(pinned(**tolerating))
    item = {"key": "team"}
    older = rendered.inputs | {"placement": {**rendered.inputs["placement"], "tolerations": [item]}}
    accepted = replace(LIVE, rendered=replace(rendered, inputs=older))
    assert reason(accepted, placement={"tolerations": [{"key": "team"}]}) is None
    assert reason(accepted, **tolerating) == "PlacementChanged"


@pytest.mark.parametrize("value", [False, 0, "", []])
def test_a_value_that_says_no_is_a_value(value: object) -> None:
    assert reason(pinned(), podTemplate={"spec": {"hostNetwork": value}}) == "PodTemplateChanged"
    accepted = pinned(podTemplate={"spec": {"hostNetwork": True}})
    assert reason(accepted, podTemplate={"spec": {"hostNetwork": value}}) == "PodTemplateChanged"


def test_giving_up_the_claim_restarts() -> None:
    assert reason(pinned(engine={"cache": {"size": "1Ti"}})) == "CacheVolumeChanged"


def test_a_default_that_changed_since_restarts_nothing_that_has_the_old_value() -> None:
    """The API server stores defaults with the object, so the old value is spelled out there."""
    accepted = pinned(engine={"drainSeconds": 90})
    assert reason(accepted, engine={"drainSeconds": 90}) is None


def test_a_value_taken_back_restarts() -> None:
    accepted = pinned(engine={"maxModelLen": 4096})
    assert reason(accepted) == "EngineLimitsChanged"


def test_every_fact_has_its_reason() -> None:
    of = resource()
    assert set(inputs(of, Start.of(of.spec, LIVE))) == set(FACTS)


def test_a_trial_takes_a_replica_from_the_stable_pods_and_has_a_template_of_its_own() -> None:
    trial = replace(AcceptedDecision(1, "Restart", 7), trial=RestartTrial(start_k=4))
    of = resource(replicas=3, tuning={"switching": "Restart"})
    stable, canary = (m.body for m in desired.manifests(of, trial) if m.kind == "Deployment")
    assert (stable["spec"]["replicas"], canary["spec"]["replicas"]) == (2, 1)
    assert canary["metadata"]["name"] == "demo-trial"
    assert canary["spec"]["selector"]["matchLabels"]["specdec.dev/role"] == "trial"
    commands = ["".join(body["spec"]["template"]["spec"]["containers"][0]["args"]) for body in (stable, canary)]
    assert '"num_speculative_tokens": 7' in commands[0]
    assert '"num_speculative_tokens": 4' in commands[1]
    again = desired.pin(of, desired.pin(of, trial))
    assert again == desired.pin(of, trial)


def test_a_trial_never_takes_more_than_there_is() -> None:
    trial = replace(LIVE, trial=RestartTrial(start_k=4, replicas=3))
    counts = [
        m.body["spec"]["replicas"] for m in desired.manifests(resource(replicas=2), trial) if m.kind == "Deployment"
    ]
    assert counts == [0, 2]


def _known(accepted: AcceptedDecision) -> Rendered:
    assert accepted.rendered
    return accepted.rendered
