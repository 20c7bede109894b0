"""Installed by real helm on a real API server: what it takes, what an upgrade changes, what an uninstall leaves."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.rendering import CHART, NAMESPACE, RELEASE, Manifest, helm, render, with_image
from tests.support.apiserver import ApiServer

ROOT = CHART.parents[1]
DEFINITION = "speculativedeployments.specdec.dev"
EVERYTHING: dict[str, Any] = {
    "imagePullSecrets": [{"name": "pull"}],
    "priorityClassName": "system-cluster-critical",
    "extraArgs": ["--leader-election=true"],
    "extraEnv": [{"name": "TZ", "value": "UTC"}],
    "nodeSelector": {"pool": "cpu"},
    "tolerations": [{"key": "pool", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "dashboards": {"enabled": True},
    "networkPolicy": {"apiServerCIDRs": ["10.0.0.1/32"], "metricsFrom": [{"namespaceSelector": {}}]},
    "loadTest": {"enabled": True, "targets": ["auto=http://a:8000"], "workers": 2, "apiKeySecret": {"name": "keys"}},
    "calibrate": {"enabled": True, "resource": "probe", "apiKeySecret": {"name": "keys"}, "resultsClaim": "disk"},
}


class Release:
    """The chart on one API server, under the usual name."""

    def __init__(self, api: ApiServer) -> None:
        self.api = api

    def helm(self, verb: str, *arguments: str, values: dict[str, Any] | None = None, chart: Path = CHART) -> str:
        placed = [str(chart)] if verb in {"install", "upgrade"} else []
        arguments = (verb, RELEASE, *placed, "--namespace", NAMESPACE, *arguments)
        given = None if values is None else with_image(values)
        return helm(*arguments, values=given, kubeconfig=self.api.kubeconfig).stdout

    def get(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.api.kubectl("get", *arguments, "-o", "json").stdout)
        return found

    def is_there(self, *arguments: str) -> bool:
        return bool(self.api.kubectl("get", *arguments, "--ignore-not-found", "-o", "name").stdout.strip())

    def wait_definition(self) -> None:
        self.api.kubectl("wait", f"crd/{DEFINITION}", "--for=condition=Established", "--timeout=120s")


@pytest.fixture
def release(api_server: ApiServer) -> Iterator[Release]:
    """Nothing installed yet; nothing is left for the next test."""
    made = Release(api_server)
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": restricted}}
    api_server.kubectl("apply", "-f", "-", stdin=json.dumps(namespace))
    yield made
    made.helm("uninstall", "--ignore-not-found", "--no-hooks")
    api_server.kubectl("delete", "crd", DEFINITION, "--ignore-not-found", "--wait")


def test_install_prints_the_next_command(release: Release) -> None:
    said = release.helm("install", values={})
    assert f"kubectl --namespace {NAMESPACE} rollout status deployment/specdec-specdec-operator" in said
    assert f"helm test {RELEASE} --namespace {NAMESPACE}" in said
    assert "examples/deepseek-v4-flash.yaml | kubectl --namespace specdec-system apply -f -" in said


def test_the_notes_name_only_files_that_exist(release: Release) -> None:
    said = release.helm("install", "--dry-run=server", values={})
    named = [word for word in said.split() if word.startswith("examples/")]
    assert named
    assert all((ROOT / name).exists() for name in named)


def test_the_first_resource_of_the_notes_is_accepted(release: Release) -> None:
    said = release.helm("install", values={"image": {"tag": "v9"}})
    release.wait_definition()
    (command,) = [line.strip() for line in said.splitlines() if line.strip().startswith("sed ")]
    fill, _, apply = command.partition(" | ")
    filled = subprocess.run(shlex.split(fill), cwd=ROOT, check=True, capture_output=True, text=True, timeout=60).stdout
    assert "image: registry.example.com/specdec/vllm:v9\n" in filled
    release.api.kubectl(*shlex.split(apply)[1:], "--dry-run=server", stdin=filled)


def test_an_upgrade_brings_the_new_definition(release: Release, tmp_path: Path) -> None:
    release.helm("install", values={})
    chart = shutil.copytree(CHART, tmp_path / CHART.name)
    source = chart / "files" / "crds" / "speculativedeployments.yaml"
    definition = yaml.safe_load(source.read_text())
    definition["spec"]["names"]["shortNames"] = ["specdep", "spd"]
    source.write_text(yaml.safe_dump(definition))
    release.helm("upgrade", values={}, chart=chart)
    assert release.get("crd", DEFINITION)["spec"]["names"]["shortNames"] == ["specdep", "spd"]


def test_an_uninstall_leaves_the_users_resources_and_a_new_install_takes_them_over(release: Release) -> None:
    release.helm("install", values={})
    release.wait_definition()
    release.api.kubectl("apply", "-f", "-", stdin=json.dumps(of_the_helm_test()))
    release.helm("uninstall", "--no-hooks")
    assert not release.is_there("-n", NAMESPACE, "deployments")
    assert release.is_there("-n", NAMESPACE, "speculativedeployments")
    release.helm("install", values={})
    assert release.is_there("-n", NAMESPACE, "speculativedeployments")
    release.api.kubectl("-n", NAMESPACE, "delete", "speculativedeployments", "--all")


def test_an_uninstall_takes_the_definition_along_when_asked(release: Release) -> None:
    release.helm("install", values={"crds": {"keep": False}})
    assert release.is_there("crd", DEFINITION)
    release.helm("uninstall", "--no-hooks")
    release.api.kubectl("wait", f"crd/{DEFINITION}", "--for=delete", "--timeout=120s")


def test_namespaced_it_installs_without_any_right_in_the_cluster(release: Release) -> None:
    values = {"watchNamespaces": ["default"], "crds": {"enabled": False}, "rbac": {"aggregate": False}}
    release.helm("install", values=values)
    for kind in ("clusterroles", "clusterrolebindings"):
        names = [item["metadata"]["name"] for item in release.get(kind)["items"]]
        assert not [name for name in names if name.startswith("specdec")]
    assert release.is_there("-n", "default", "role", "specdec-specdec-operator")


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_the_api_server_knows_every_field(release: Release, values: dict[str, Any]) -> None:
    text = yaml.safe_dump_all(render(values))
    release.api.kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text)


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_every_pod_is_admitted_where_the_restricted_standard_is_enforced(
    release: Release, values: dict[str, Any]
) -> None:
    for pod in pods(values):
        release.api.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod))


def test_the_resource_of_helm_test_is_valid(release: Release) -> None:
    release.helm("install", values={})
    release.wait_definition()
    text = json.dumps(of_the_helm_test())
    release.api.kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text)


def of_the_helm_test() -> Manifest:
    made: Manifest = yaml.safe_load(render().one("ConfigMap", "specdec-specdec-operator-test")["data"]["resource.yaml"])
    return made


def pods(values: dict[str, Any]) -> Iterator[Manifest]:
    """Each pod that the release would run, as its controller would make it."""
    for number, item in enumerate(render(values).of_kind("Deployment", "Job", "Pod")):
        template = item if item["kind"] == "Pod" else item["spec"]["template"]
        metadata = {"name": f"pod-{number}", "namespace": NAMESPACE, "labels": template["metadata"]["labels"]}
        yield {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
