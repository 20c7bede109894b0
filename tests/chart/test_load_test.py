"""The load test as a Job, alone or leading workers."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from loadtests.plan import Plan
from specdec.cli.main import parser
from tests.chart.rendering import HelmError, Manifest, Rendered, container, render

TARGET = "auto=http://deepseek-v4-flash.default:8000"


def load_test(**chosen: Any) -> Rendered:
    return render({"loadTest": {"enabled": True, "targets": [TARGET], **chosen}})


def leader(rendered: Rendered) -> Manifest:
    (found,) = [job for job in rendered.of_kind("Job") if not job["metadata"]["name"].endswith("-w")]
    return found


def workers(rendered: Rendered) -> Manifest:
    (found,) = [job for job in rendered.of_kind("Job") if job["metadata"]["name"].endswith("-w")]
    return found


def test_nothing_of_it_is_there_by_default() -> None:
    assert not render().of_kind("Job")


@pytest.mark.parametrize("count", [0, 3])
def test_the_arguments_are_those_of_the_command(count: int) -> None:
    rendered = load_test(
        workers=count, failIf=["p95 tpot > 40ms"], apiKeySecret={"name": "keys"}, extraArgs=["--seed=3"]
    )
    for job in rendered.of_kind("Job"):
        words = container(job)["command"] + container(job)["args"]
        assert words[0] == "specdec"
        assert parser().parse_args(words[1:])
    chosen = parser().parse_args(container(leader(rendered))["command"][1:] + container(leader(rendered))["args"])
    assert chosen.target == [TARGET]
    assert chosen.fail_if == ["p95 tpot > 40ms"]
    assert chosen.expect_workers == count
    assert chosen.seed == 3


def test_the_default_plan_is_one_that_the_load_generator_reads() -> None:
    rendered = load_test()
    made = rendered.one("ConfigMap", leader(rendered)["metadata"]["name"])
    assert Plan.model_validate(yaml.safe_load(made["data"]["plan.yaml"])).seconds == 120


def test_it_runs_once_and_again_only_when_its_values_change() -> None:
    first, same, other = (leader(load_test(run=run))["metadata"]["name"] for run in ("", "", "again"))
    assert first == same != other
    assert leader(load_test())["spec"]["backoffLimit"] == 0
    assert "ttlSecondsAfterFinished" not in leader(load_test())["spec"]


@pytest.mark.parametrize("release", ["a", "r" * 53])
def test_names_leave_room_for_what_kubernetes_appends(release: str) -> None:
    rendered = render({"loadTest": {"enabled": True, "targets": [TARGET], "workers": 1}}, release=release)
    assert all(len(job["metadata"]["name"]) <= 63 for job in rendered.of_kind("Job"))


def test_workers_find_the_one_that_leads_them() -> None:
    rendered = load_test(workers=3)
    service = rendered.one("Service", leader(rendered)["metadata"]["name"])
    assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": leader(rendered)["metadata"]["name"]}
    assert workers(rendered)["spec"]["parallelism"] == workers(rendered)["spec"]["completions"] == 3
    assert container(workers(rendered))["args"] == ["worker", f"--master={service['metadata']['name']}"]


def test_only_workers_reach_the_one_that_leads_them() -> None:
    rendered = load_test(workers=3)
    spec = rendered.one("NetworkPolicy", leader(rendered)["metadata"]["name"])["spec"]
    led = workers(rendered)["spec"]["template"]["metadata"]["labels"]
    (rule,) = spec["ingress"]
    (peer,) = rule["from"]
    assert peer["podSelector"]["matchLabels"].items() <= led.items()
    assert not spec["podSelector"]["matchLabels"].items() <= led.items()
    alone = load_test()
    assert "ingress" not in alone.one("NetworkPolicy", leader(alone)["metadata"]["name"])["spec"]


def test_the_api_key_comes_from_a_secret_and_stands_in_no_argument() -> None:
    made = container(leader(load_test(apiKeySecret={"name": "keys", "key": "token"})))
    (variable,) = [entry for entry in made["env"] if "valueFrom" in entry]
    assert variable["valueFrom"] == {"secretKeyRef": {"name": "keys", "key": "token"}}
    assert f"--api-key-env={variable['name']}" in made["args"]


def test_results_go_to_a_claim_where_one_is_named() -> None:
    def results(rendered: Rendered) -> Manifest:
        volumes = leader(rendered)["spec"]["template"]["spec"]["volumes"]
        return next(volume for volume in volumes if volume["name"] == "results")

    assert results(load_test(resultsClaim="disk"))["persistentVolumeClaim"] == {"claimName": "disk"}
    assert results(load_test())["emptyDir"] == {}


def test_the_pods_are_confined_and_have_no_right_in_the_cluster() -> None:
    rendered = load_test(workers=1)
    for job in rendered.of_kind("Job"):
        pod = job["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert container(job)["securityContext"]["readOnlyRootFilesystem"] is True


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        pytest.param({"targets": []}, "loadTest.targets is empty", id="no target"),
        pytest.param({"targets": ["http://x"]}, "targets", id="no name"),
        pytest.param(
            {"targets": [TARGET, "off=http://b"], "workers": 2}, "drive a single target", id="two for workers"
        ),
    ],
)
def test_contradictions_are_refused(chosen: dict[str, Any], words: str) -> None:
    with pytest.raises(HelmError, match=words):
        load_test(**chosen)
