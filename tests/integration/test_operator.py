"""The operator as a process beside a real API server: what it makes, mends, leaves alone and says."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.conftest import OPERATOR, World
from tests.support.apiserver import ApiServer
from tests.support.fleet import Fleet, eventually
from tests.support.operator import OperatorProcess, operator

QUIET_LOOKS = 15
CHILDREN = ("deployment/demo", "service/demo", "serviceaccount/demo-engine", "networkpolicy/demo-engine", "pdb/demo")


@pytest.fixture(scope="module")
def process(operator_api: ApiServer) -> Iterator[OperatorProcess]:
    """One operator for the tests of this module; each has a namespace of its own."""
    with operator(operator_api.kubeconfig_for(OPERATOR)) as running:
        yield running
        assert running.stop() == 0


@pytest.fixture
def demo(world: World, process: OperatorProcess) -> World:
    """A namespace with the resource `demo` at rest."""
    world.apply("demo")
    world.wait_for("deployment/demo")
    world.wait_condition("demo", "Reconciling")
    return world


def quiet(world: World) -> list[str]:
    """The operator's writes once they have ceased for a while."""
    looks: list[list[str]] = []

    def ceased() -> bool:
        looks.append(world.writes())
        return len(looks) > QUIET_LOOKS and bool(looks[-1]) and looks[-1] == looks[-QUIET_LOOKS]

    eventually("the operator has come to rest", ceased)
    return looks[-1]


def test_a_resource_gets_its_children_in_one_write_each(demo: World) -> None:
    for child in CHILDREN:
        assert demo.get(*child.split("/"))["metadata"]["ownerReferences"][0]["name"] == "demo"
    writes = quiet(demo)
    assert sorted(write.split()[1] for write in writes if write.split()[1] != "events") == [
        "configmaps",
        "deployments",
        "networkpolicies",
        "poddisruptionbudgets",
        "secrets",
        "serviceaccounts",
        "services",
        "speculativedeployments",
    ]
    assert [event["reason"] for event in demo.events("demo")] == ["ChildrenApplied"]


@pytest.mark.parametrize("child", CHILDREN)
def test_a_deleted_child_comes_back(demo: World, child: str) -> None:
    uid = demo.get(*child.split("/"))["metadata"]["uid"]
    demo.kubectl("delete", child, "--wait=false")
    eventually("another child", lambda: demo.get(*child.split("/")).get("metadata", {}).get("uid", uid) != uid)


def test_a_changed_field_of_ours_is_set_back_and_one_of_others_is_left(demo: World) -> None:
    patch = {"metadata": {"annotations": {"theirs": "1"}}, "spec": {"selector": {"specdec.dev/resource": "other"}}}
    demo.kubectl("patch", "service", "demo", "--type=merge", "-p", json.dumps(patch))
    eventually("ours again", lambda: demo.get("service", "demo")["spec"]["selector"]["specdec.dev/resource"] == "demo")
    assert demo.get("service", "demo")["metadata"]["annotations"]["theirs"] == "1"


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"tuning": {"min": 2, "max": 5}}, id="bounds"),
        pytest.param({"tuning": {"mode": "Recommend"}}, id="mode"),
        pytest.param(
            {"tuning": {"objective": {"constraints": [{"metric": "TimeToFirstToken", "max": "2s"}]}}}, id="goal"
        ),
        pytest.param({"monitoring": {"scrapeIntervalSeconds": 30}}, id="scrape interval"),
    ],
)
def test_edits_that_need_no_restart_cause_none(demo: World, spec: dict[str, Any]) -> None:
    before = demo.get("deployment", "demo")["spec"]["template"]
    demo.apply("demo", **spec)
    generation = demo.get("specdep", "demo")["metadata"]["generation"]
    assert generation > 1
    eventually("the edit is seen", lambda: demo.status("demo").get("observedGeneration") == generation)
    assert demo.get("deployment", "demo")["spec"]["template"] == before


def test_a_network_policy_goes_and_comes_as_asked(demo: World) -> None:
    before = demo.get("deployment", "demo")["spec"]["template"]
    demo.apply("demo", networkPolicy={"enabled": False})
    eventually("it is gone", lambda: not demo.get("networkpolicy", "demo-engine"))
    demo.apply("demo", networkPolicy={"enabled": True, "extraEgress": [{"ports": [{"port": 3128}]}]})
    made = demo.wait_for("networkpolicy/demo-engine")
    assert made["spec"]["egress"][-1] == {"ports": [{"port": 3128, "protocol": "TCP"}]}
    assert demo.get("deployment", "demo")["spec"]["template"] == before


def test_scaling_touches_the_replicas_alone(demo: World) -> None:
    before = demo.get("deployment", "demo")["spec"]
    demo.kubectl("scale", "specdep/demo", "--replicas=3")
    eventually("three replicas", lambda: demo.get("deployment", "demo")["spec"]["replicas"] == 3)
    assert {**demo.get("deployment", "demo")["spec"], "replicas": before["replicas"]} == before


def test_an_edit_that_needs_a_restart_says_so(demo: World) -> None:
    demo.apply("demo", speculator={"numSpeculativeTokens": 5})
    eventually("the start value", lambda: '"num_speculative_tokens": 5' in _command(demo))
    eventually("an event", lambda: "PodTemplateChanged" in {event["reason"] for event in demo.events("demo")})
    history = eventually("the history", lambda: demo.status("demo").get("history"))
    assert (history[0]["from"], history[0]["to"], history[0]["reason"]) == ("7", "5", "StartValueChanged")


def test_a_paused_resource_is_left_as_it_is(demo: World) -> None:
    template = demo.get("deployment", "demo")["spec"]["template"]
    demo.apply("demo", paused=True, speculator={"numSpeculativeTokens": 4})
    eventually("the Deployment is paused", lambda: demo.get("deployment", "demo")["spec"].get("paused"))
    assert demo.get("deployment", "demo")["spec"]["template"] == template
    _up_to_date(demo)
    eventually("the edit is told", lambda: demo.condition("demo", "Reconciling")["reason"] == "Paused")
    assert demo.condition("demo", "Ready")["status"] == "False"
    demo.apply("demo", paused=False, speculator={"numSpeculativeTokens": 4})
    eventually("it follows", lambda: '"num_speculative_tokens": 4' in _command(demo))


def _up_to_date(world: World) -> None:
    """As the Deployment controller would say it of one pod."""
    seen = world.get("deployment", "demo")["metadata"]["generation"]
    status = {"observedGeneration": seen, "replicas": 1, "readyReplicas": 1, "updatedReplicas": 1}
    patch = json.dumps({"status": status})
    world.kubectl("patch", "deployment", "demo", "--subresource=status", "--type=merge", "-p", patch)


def test_a_child_that_nothing_asks_for_any_more_goes(demo: World) -> None:
    copied = demo.get("service", "demo")
    stray: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "demo-stray",
            "labels": copied["metadata"]["labels"],
            "ownerReferences": copied["metadata"]["ownerReferences"],
        },
        "spec": {"ports": [{"port": 1}]},
    }
    ours = {**stray, "metadata": {**stray["metadata"], "name": "demo-copied", "ownerReferences": []}}
    for body in (stray, ours):
        demo.kubectl("apply", "-f", "-", stdin=json.dumps(body))
    eventually("the stray is gone", lambda: not demo.get("service", "demo-stray"))
    assert demo.get("service", "demo-copied"), "a label alone does not make it ours"


def test_a_name_that_is_taken_is_told_and_not_taken_over(world: World, process: OperatorProcess) -> None:
    world.kubectl("create", "service", "clusterip", "demo", "--tcp=80")
    world.apply("demo")
    found = world.wait_condition("demo", "Stalled")
    assert found["reason"] == "ChildNameTaken"
    assert "Service" in found["message"]
    assert world.get("service", "demo")["spec"]["ports"][0]["port"] == 80
    world.kubectl("delete", "service", "demo")
    world.wait_condition("demo", "Stalled", "False")
    assert world.get("service", "demo")["spec"]["ports"][0]["port"] == 8000


def test_a_child_that_is_refused_is_told_and_the_rest_is_made(world: World, process: OperatorProcess) -> None:
    world.apply("demo", podTemplate={"spec": {"containers": [{"name": "side", "image": "x", "ports": "none"}]}})
    found = world.wait_condition("demo", "Stalled")
    assert found["reason"] == "ChildRefused"
    assert world.get("service", "demo")
    world.apply("demo", podTemplate={})
    world.wait_for("deployment/demo")
    world.wait_condition("demo", "Stalled", "False")


def test_one_bad_resource_disturbs_no_other(world: World, process: OperatorProcess) -> None:
    world.kubectl("create", "service", "clusterip", "bad", "--tcp=80")
    world.apply("bad")
    world.apply("good")
    world.wait_for("deployment/good")
    world.wait_condition("bad", "Stalled")
    assert world.condition("good", "Stalled")["status"] == "False"


def test_deleting_the_resource_leaves_nothing(demo: World) -> None:
    demo.kubectl("delete", "specdep", "demo")
    kinds = "deployments,services,configmaps,secrets,serviceaccounts,networkpolicies,poddisruptionbudgets"
    selector = "app.kubernetes.io/managed-by=specdec-operator"
    eventually(
        "no child is left",
        lambda: not json.loads(demo.kubectl("get", kinds, "-l", selector, "-o", "json"))["items"],
    )


def test_a_resource_made_anew_under_its_name_starts_from_nothing(demo: World) -> None:
    token = demo.get("secret", "demo-control")["data"]["token"]
    old = demo.get("specdep", "demo")["metadata"]["uid"]
    demo.kubectl("delete", "specdep", "demo", "--wait=true")
    demo.apply("demo")
    new = demo.get("specdep", "demo")["metadata"]["uid"]
    assert new != old

    def belongs() -> bool:
        owners = [demo.get(*child.split("/")).get("metadata", {}).get("ownerReferences", [{}]) for child in CHILDREN]
        return all([owner.get("uid") for owner in each] == [new] for each in owners)

    eventually("all children belong to the new one", belongs)
    assert len(base64.b64decode(token)) >= 32


def test_no_secret_is_in_the_log(demo: World, process: OperatorProcess) -> None:
    token = base64.b64decode(demo.get("secret", "demo-control")["data"]["token"]).decode()
    assert token not in process.log.read_text()
    assert "demo-control" in process.log.read_text()


def test_health_and_metrics_are_answered(demo: World, process: OperatorProcess) -> None:
    assert process.healthy()
    assert process.metric("specdec_operator_resources") is not None
    assert (process.metric('specdec_operator_api_requests_total{code="201",verb="apply"}') or 0) > 0


def test_status_counts_pods(demo: World) -> None:
    with Fleet(demo.api, demo.namespace) as fleet:
        demo.apply("demo", replicas=2)
        eventually("two replicas", lambda: demo.get("deployment", "demo")["spec"]["replicas"] == 2)
        fleet.follow()
        demo.wait_condition("demo", "Ready")
        status = demo.status("demo")
        assert (status["replicas"], status["readyReplicas"], status["updatedReplicas"]) == (2, 2, 2)
        assert demo.kubectl("get", "specdep", "demo", "-o", "jsonpath={.status.selector}") == status["selector"]
        demo.kubectl("wait", "--for=condition=Ready", "specdep/demo", "--timeout=120s")


def _command(world: World) -> str:
    container = world.get("deployment", "demo")["spec"]["template"]["spec"]["containers"][0]
    return " ".join([*container.get("command", []), *container.get("args", [])])
