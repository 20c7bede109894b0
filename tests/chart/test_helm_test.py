"""What `helm test` makes: a confined pod with rights on one resource, and that resource."""

from __future__ import annotations

import runpy
from typing import Any

import pytest
import yaml

from specdec import desired
from specdec.api.decision import AcceptedDecision
from specdec.api.resource import SpeculativeDeployment, parse
from tests.chart.rendering import CHART, NAMESPACE, OPERATOR, Rendered, render

NAME = "specdec-specdec-operator-test"


def resource(rendered: Rendered) -> dict[str, Any]:
    made: dict[str, Any] = yaml.safe_load(rendered.one("ConfigMap", NAME)["data"]["resource.yaml"])
    return made


def test_everything_of_it_is_made_for_the_test_and_taken_away_after_it() -> None:
    made = [item for item in render() if item["metadata"]["name"] == NAME]
    assert {item["kind"] for item in made} == {"ServiceAccount", "Role", "RoleBinding", "ConfigMap", "Pod"}
    for item in made:
        assert item["metadata"]["annotations"]["helm.sh/hook"] == "test"
        assert "hook-succeeded" in item["metadata"]["annotations"]["helm.sh/hook-delete-policy"]


def test_the_pod_may_make_and_delete_its_own_resource_alone() -> None:
    role = render().one("Role", NAME)
    assert [(rule["resources"], rule.get("resourceNames"), rule["verbs"]) for rule in role["rules"]] == [
        (["speculativedeployments"], None, ["create"]),
        (["speculativedeployments"], [NAME], ["get", "delete"]),
    ]


def test_the_pod_runs_the_operator_image_confined_as_the_operator_is() -> None:
    rendered = render({"image": {"tag": "v9"}, "test": {"timeoutSeconds": 60}})
    pod = rendered.one("Pod", NAME)["spec"]
    operator = rendered.one("Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"] == operator["securityContext"]
    (container,) = pod["containers"]
    assert container["securityContext"] == operator["containers"][0]["securityContext"]
    assert container["image"] == f"{OPERATOR}:v9"
    assert container["command"] == ["python", "/test/helm_test.py", "/test/resource.yaml", "60"]
    assert pod["activeDeadlineSeconds"] > 60


def engine_pod(rendered: Rendered) -> dict[str, Any]:
    """The pod spec that the operator makes for the test's resource."""
    made = resource(rendered)
    made["metadata"]["uid"] = "a-uid"
    parsed = parse(made)
    assert isinstance(parsed, SpeculativeDeployment), parsed
    manifests = desired.manifests(parsed, AcceptedDecision(revision=1, switching="Live", start_k=7))
    (deployment,) = (manifest.body for manifest in manifests if manifest.kind == "Deployment")
    pod: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return pod


def test_all_its_pods_pull_from_a_private_registry() -> None:
    secrets = [{"name": "one"}, {"name": "two"}]
    rendered = render({"imagePullSecrets": secrets})
    assert rendered.one("Pod", NAME)["spec"]["imagePullSecrets"] == secrets
    assert engine_pod(rendered)["imagePullSecrets"] == secrets


def test_the_resource_runs_the_simulator_on_any_node_without_a_gpu() -> None:
    pod = engine_pod(render({"test": {"simulator": {"tag": "v9"}}}))
    assert "affinity" not in pod
    (engine,) = pod["containers"]
    assert engine["image"] == "registry.example.com/specdec/simulator:v9"
    assert set(engine["resources"]["limits"]) == {"memory"}


@pytest.mark.parametrize(
    ("namespaces", "served"),
    [
        pytest.param([], NAMESPACE, id="the release's namespace in a cluster-wide installation"),
        pytest.param(["team-b", "team-a"], "team-b", id="the first of a list"),
        pytest.param(["team-a", NAMESPACE], NAMESPACE, id="the release's namespace where it is in the list"),
    ],
)
def test_it_is_made_where_the_operator_looks(namespaces: list[str], served: str) -> None:
    rendered = render({"watchNamespaces": namespaces})
    assert resource(rendered)["metadata"]["namespace"] == served
    assert rendered.one("Role", NAME)["metadata"]["namespace"] == served
    assert rendered.one("Pod", NAME)["metadata"]["namespace"] == NAMESPACE


class Answers:
    """A cluster that answers `get` from a list, the last one for ever."""

    def __init__(self, *answers: dict[str, Any] | None) -> None:
        self._answers = list(answers)

    def get(self) -> dict[str, Any] | None:
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


class Clock:
    """`time` for the script: nothing but its own sleep makes it pass."""

    def __init__(self) -> None:
        self._now = 0.0

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += seconds


def with_ready(status: str) -> dict[str, Any]:
    entry = {"type": "Ready", "status": status, "reason": "Because", "message": "so it is"}
    return {"status": {"conditions": [entry]}}


@pytest.mark.parametrize(
    ("answers", "ready", "said"),
    [
        pytest.param(
            [{}, with_ready("False"), with_ready("True")], True, "Ready: False (Because): so it is", id="Ready"
        ),
        pytest.param([with_ready("False")], False, "Ready: False (Because): so it is", id="never Ready"),
        pytest.param([{}], False, "is it running, and does it serve this namespace?", id="no operator"),
    ],
)
def test_the_script_waits_for_ready_and_says_what_it_sees(
    answers: list[dict[str, Any]], ready: bool, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    script = runpy.run_path(str(CHART / "files" / "helm_test.py"))
    wait_ready = script["wait_ready"]
    wait_ready.__globals__["time"] = Clock()
    assert wait_ready(Answers(*answers), 30) is ready
    assert said in capsys.readouterr().out
