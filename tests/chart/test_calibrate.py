"""The calibration as a Job beside the engine that it measures."""

from __future__ import annotations

from typing import Any

import pytest

from specdec.api import names
from specdec.cli.main import parser
from tests.chart.rendering import NAMESPACE, HelmError, Manifest, container, render


def job(values: dict[str, Any] | None = None, **chosen: Any) -> Manifest:
    return render({"calibrate": {"enabled": True, "resource": "probe", **chosen}, **(values or {})}).one("Job")


def test_the_arguments_are_those_of_the_command() -> None:
    made = container(job(apiKeySecret={"name": "keys"}, extraArgs=["--k=0,3,7"], minutes=5))
    chosen = parser().parse_args(["calibrate", *made["args"]])
    assert chosen.engine == f"http://probe:{names.HTTP_PORT}"
    assert (chosen.model, chosen.minutes, chosen.k) == ("probe", 5.0, "0,3,7")
    assert str(chosen.control_token_file) == names.CONTROL_TOKEN_FILE
    assert chosen.api_key_env in {variable["name"] for variable in made["env"]}
    assert made["command"][-2] == f'specdec calibrate "$@" && cat {chosen.out}'


def test_it_reads_the_control_token_of_its_resource() -> None:
    volumes = {volume["name"]: volume for volume in job()["spec"]["template"]["spec"]["volumes"]}
    assert volumes["control"]["secret"] == {"secretName": names.control_secret("probe")}
    mounts = {mount["name"]: mount["mountPath"] for mount in container(job())["volumeMounts"]}
    assert mounts["control"] == names.CONTROL_TOKEN_DIR


@pytest.mark.parametrize(
    ("values", "chosen", "namespace"),
    [
        pytest.param({}, {}, NAMESPACE, id="the release's own"),
        pytest.param({"watchNamespaces": ["team-a"]}, {}, "team-a", id="one that is served"),
        pytest.param({}, {"namespace": "team-b"}, "team-b", id="the one that is named"),
    ],
)
def test_it_runs_in_the_namespace_of_its_resource(
    values: dict[str, Any], chosen: dict[str, Any], namespace: str
) -> None:
    assert job(values, **chosen)["metadata"]["namespace"] == namespace


def test_it_ends_in_any_case_and_is_not_repeated_by_itself() -> None:
    spec = job(minutes=5)["spec"]
    assert spec["backoffLimit"] == 0
    assert spec["activeDeadlineSeconds"] == 900
    assert job(run="again")["metadata"]["name"] != job()["metadata"]["name"]


def test_the_pod_is_confined_and_has_no_right_in_the_cluster() -> None:
    pod = job()["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container(job())["securityContext"]["readOnlyRootFilesystem"] is True


def test_a_resource_must_be_named() -> None:
    with pytest.raises(HelmError, match=r"calibrate\.resource is empty"):
        job(resource="")
