"""The Deployment of the operator: how many, how confined, with which image and arguments."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from specdec.cli.main import parser
from specdec.controllers.settings import from_arguments
from tests.chart.rendering import CHART, OPERATOR, HelmError, container, flags, helm, render
from tests.cluster import tools

NAME = "specdec-specdec-operator"
DIGEST = "sha256:" + "ab" * 32


def test_two_replicas_share_one_lease_and_never_drop_below_two_while_they_roll() -> None:
    deployment = render().one("Deployment")
    assert deployment["spec"]["replicas"] == 2
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert flags(container(deployment))["--lease-name"] == ["specdec-specdec-operator"]


def test_the_pod_passes_the_restricted_standard_and_cannot_write_its_root() -> None:
    pod = render().one("Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (operator,) = pod["containers"]
    assert operator["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert [volume["name"] for volume in pod["volumes"]] == ["tmp"]


def test_probes_ask_the_health_port_and_the_kubelet_waits_a_minute_for_a_slow_start() -> None:
    operator = container(render({"healthPort": 8181}).one("Deployment"))
    assert {port["name"]: port["containerPort"] for port in operator["ports"]} == {"health": 8181, "metrics": 9090}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert operator[probe]["httpGet"]["port"] == "health"
    assert operator["startupProbe"]["periodSeconds"] * operator["startupProbe"]["failureThreshold"] >= 60


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        pytest.param({}, f"{OPERATOR}:0.1.0", id="the chart's own version by default"),
        pytest.param({"repository": "r.example/o", "tag": "v9"}, "r.example/o:v9", id="a tag"),
        pytest.param({"tag": "v9", "digest": DIGEST}, f"{OPERATOR}@{DIGEST}", id="digest before tag"),
    ],
)
def test_the_image(image: dict[str, str], reference: str) -> None:
    assert container(render({"image": image}).one("Deployment"))["image"] == reference


def test_without_an_image_the_chart_says_what_to_set() -> None:
    with pytest.raises(HelmError, match=r"add --set image\.repository=REGISTRY/specdec/operator"):
        helm("template", "specdec", str(CHART), "--kube-version", tools.KUBERNETES_VERSION)


@pytest.mark.parametrize(
    ("image", "others", "references"),
    [
        pytest.param({"tag": "v9"}, {}, ["{}/simulator:v9", "{}/loadtest:v9"], id="beside the operator's, same tag"),
        pytest.param({"digest": DIGEST}, {}, ["{}/simulator:0.1.0", "{}/loadtest:0.1.0"], id="a digest is one image's"),
        pytest.param({"repository": "operator"}, {}, ["simulator:0.1.0", "loadtest:0.1.0"], id="no registry at all"),
        pytest.param({"tag": "v9"}, {"repository": "r/o", "tag": "a"}, ["r/o:a", "r/o:a"], id="elsewhere"),
    ],
)
def test_the_other_images(image: dict[str, str], others: dict[str, str], references: list[str]) -> None:
    load_test = {"enabled": True, "targets": ["a=http://a"], "image": others}
    rendered = render({"image": image, "loadTest": load_test, "test": {"simulator": others}})
    simulated = yaml.safe_load(rendered.one("ConfigMap", f"{NAME}-test")["data"]["resource.yaml"])
    made = [simulated["spec"]["engine"]["image"], container(rendered.one("Job"))["image"]]
    assert made == [reference.format(OPERATOR.rpartition("/")[0]) for reference in references]


def test_the_command_takes_the_arguments_that_the_chart_gives_it() -> None:
    values = {
        "watchNamespaces": ["b", "a"],
        "log": {"level": "debug", "format": "console"},
        "healthPort": 8181,
        "metrics": {"port": 9191},
    }
    given = container(render(values).one("Deployment"))
    environment = {"POD_NAME": "operator-0", "POD_NAMESPACE": "specdec-system"}
    assert set(environment) <= {variable["name"] for variable in given["env"]}
    settings = from_arguments(parser().parse_args(given["args"]), environment)
    assert settings.namespaces == ("a", "b")
    assert settings.lease_name == "specdec-specdec-operator"
    assert settings.identity.startswith("operator-0_")
    assert (settings.health_port, settings.metrics_port) == (8181, 9191)
    assert (settings.log_level, settings.log_format) == ("debug", "console")


def test_the_image_runs_as_the_user_that_the_pod_asks_for() -> None:
    dockerfile = (CHART.parents[1] / "images" / "operator" / "Dockerfile").read_text()
    pod = render().one("Deployment")["spec"]["template"]["spec"]
    assert f"USER {pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}\n" in dockerfile
    assert re.search(r"^ARG BASE_IMAGE=\S+@sha256:[0-9a-f]{64}$", dockerfile, re.MULTILINE)
    assert "--require-hashes" in dockerfile


def test_arguments_and_environment_of_the_user_come_last() -> None:
    given: dict[str, Any] = {
        "extraArgs": ["--flag=x"],
        "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy.example:3128"}],
    }
    operator = container(render(given).one("Deployment"))
    assert operator["args"][0] == "run"
    assert operator["args"][-1] == "--flag=x"
    assert operator["env"][-1] == given["extraEnv"][0]


@pytest.mark.parametrize(
    ("values", "field", "expected"),
    [
        pytest.param({"nodeSelector": {"pool": "cpu"}}, "nodeSelector", {"pool": "cpu"}, id="node selector"),
        pytest.param(
            {"tolerations": [{"operator": "Exists"}]}, "tolerations", [{"operator": "Exists"}], id="tolerations"
        ),
        pytest.param({"affinity": {"podAntiAffinity": {}}}, "affinity", {"podAntiAffinity": {}}, id="affinity"),
        pytest.param(
            {"priorityClassName": "system-cluster-critical"},
            "priorityClassName",
            "system-cluster-critical",
            id="priority",
        ),
        pytest.param(
            {"imagePullSecrets": [{"name": "pull"}]}, "imagePullSecrets", [{"name": "pull"}], id="pull secrets"
        ),
        pytest.param({"terminationGracePeriodSeconds": 45}, "terminationGracePeriodSeconds", 45, id="grace"),
        pytest.param(
            {"topologySpreadConstraints": [{"topologyKey": "rack"}]},
            "topologySpreadConstraints",
            [{"topologyKey": "rack"}],
            id="spread",
        ),
    ],
)
def test_pod_settings_reach_the_pod(values: dict[str, Any], field: str, expected: Any) -> None:
    assert render(values).one("Deployment")["spec"]["template"]["spec"][field] == expected


def test_the_replicas_spread_over_nodes_and_zones_by_default() -> None:
    spread = render().one("Deployment")["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert [item["topologyKey"] for item in spread] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    assert {item["whenUnsatisfiable"] for item in spread} == {"ScheduleAnyway"}


def test_a_drain_never_takes_both_replicas() -> None:
    budget = render().one("PodDisruptionBudget")
    deployment = render().one("Deployment")
    assert budget["spec"]["maxUnavailable"] == 1
    assert budget["spec"]["selector"] == deployment["spec"]["selector"]


@pytest.mark.parametrize("values", [{"replicas": 1}, {"podDisruptionBudget": {"enabled": False}}])
def test_no_budget_keeps_a_single_replica_from_being_drained(values: dict[str, Any]) -> None:
    assert not render(values).of_kind("PodDisruptionBudget")


def test_a_foreign_service_account_must_be_named() -> None:
    with pytest.raises(HelmError, match=r"serviceAccount\.name must be set when serviceAccount\.create is false"):
        render({"serviceAccount": {"create": False}})
    rendered = render({"serviceAccount": {"create": False, "name": "mine"}})
    assert [item["metadata"]["name"] for item in rendered.of_kind("ServiceAccount")] == [
        "specdec-specdec-operator-test"
    ]
    assert rendered.one("Deployment")["spec"]["template"]["spec"]["serviceAccountName"] == "mine"


@pytest.mark.parametrize(
    ("values", "release", "name"),
    [
        pytest.param({}, "a", "a-specdec-operator", id="release and chart"),
        pytest.param({}, "specdec-operator", "specdec-operator", id="not twice"),
        pytest.param({"fullnameOverride": "tuner"}, "a", "tuner", id="override"),
        pytest.param({}, "r" * 53, "r" * 52, id="cut so that longer children's names still fit"),
    ],
)
def test_names(values: dict[str, Any], release: str, name: str) -> None:
    rendered = render(values, release=release)
    assert rendered.one("Deployment")["metadata"]["name"] == name
    assert all(len(item["metadata"]["name"]) <= 63 for item in rendered)
