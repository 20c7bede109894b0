"""What an engine's pod looks like."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specdec.api.manifest import Json
from specdec.api.names import Role
from specdec.api.resource import SpeculativeDeployment
from specdec.desired.start import Start
from specdec.desired.template import pod_template
from tests.support.resource import resource

H200 = {"key": "nvidia.com/gpu.product", "operator": "In", "values": ["NVIDIA-H200"]}


def pod(of: SpeculativeDeployment | None = None, **spec: Any) -> Json:
    template = pod_template(of or resource(**spec), Role.STABLE, Start(7, None))
    found: Json = template["spec"]
    return found


def container(**spec: Any) -> Json:
    found: Json = pod(**spec)["containers"][0]
    return found


def env(**spec: Any) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container(**spec)["env"]}


def node_terms(**spec: Any) -> list[Json]:
    required = pod(**spec)["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    terms: list[Json] = required["nodeSelectorTerms"]
    return terms


@given(timeout=st.integers(10, 86400))
def test_the_startup_probe_lasts_as_long_as_the_budget_and_no_step_longer(timeout: int) -> None:
    probe = container(engine={"startupTimeoutSeconds": timeout})["startupProbe"]
    lasts = probe["periodSeconds"] * probe["failureThreshold"]
    assert timeout <= lasts < timeout + probe["periodSeconds"]
    assert probe["periodSeconds"] <= 10


@given(drain=st.integers(0, 3600))
def test_the_grace_period_outlasts_sleep_and_drain(drain: int) -> None:
    stopping = pod(engine={"drainSeconds": drain})
    sleep = stopping["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert sleep > 0
    assert stopping["terminationGracePeriodSeconds"] > sleep + drain


@given(tensor=st.sampled_from([1, 2, 4, 8]), data=st.integers(1, 8))
def test_a_replica_takes_tensor_times_data_gpus(tensor: int, data: int) -> None:
    if tensor * data > 8:
        return
    amounts = container(engine={"parallelism": {"tensor": tensor, "data": data}})["resources"]
    assert amounts["limits"]["nvidia.com/gpu"] == amounts["requests"]["nvidia.com/gpu"] == str(tensor * data)


def test_it_runs_where_restricted_pods_may() -> None:
    spec, engine = pod()["securityContext"], container()["securityContext"]
    assert (spec["runAsNonRoot"], spec["seccompProfile"]) == (True, {"type": "RuntimeDefault"})
    assert engine["capabilities"] == {"drop": ["ALL"]}
    assert (engine["allowPrivilegeEscalation"], engine["readOnlyRootFilesystem"]) == (False, True)
    assert pod()["automountServiceAccountToken"] is False


def test_what_is_written_at_run_time_lies_on_a_volume() -> None:
    mounts = {mount["mountPath"]: mount["name"] for mount in container()["volumeMounts"]}
    variables = env()
    for name in ("HF_HOME", "VLLM_CACHE_ROOT", "TORCHINDUCTOR_CACHE_DIR", "CUTE_DSL_CACHE_DIR", "HOME"):
        assert variables[name].startswith("/var/cache/specdec")
    assert mounts["/var/cache/specdec"] == "cache"
    assert mounts["/tmp"] == "tmp"
    assert mounts["/dev/shm"] == "shm"
    shm = next(volume for volume in pod(engine={"shmSize": "32Gi"})["volumes"] if volume["name"] == "shm")
    assert shm["emptyDir"] == {"medium": "Memory", "sizeLimit": "32Gi"}


@pytest.mark.parametrize(
    ("cache", "volume"),
    [
        ({}, {"emptyDir": {}}),
        ({"emptyDir": {"sizeLimit": "200Gi"}}, {"emptyDir": {"sizeLimit": "200Gi"}}),
        ({"size": "500Gi"}, {"persistentVolumeClaim": {"claimName": "demo-cache"}}),
        ({"existingClaim": "mine"}, {"persistentVolumeClaim": {"claimName": "mine"}}),
    ],
)
def test_the_cache_is_what_was_asked_for(cache: Json, volume: Json) -> None:
    assert {"name": "cache", **volume} in pod(engine={"cache": cache})["volumes"]


def test_the_control_token_is_a_file_and_never_a_variable() -> None:
    assert env()["SPECDEC_CONTROL_TOKEN_FILE"] == "/var/run/specdec/control/token"
    mounted = {mount["name"]: mount for mount in container()["volumeMounts"]}
    assert mounted["control"] == {"name": "control", "mountPath": "/var/run/specdec/control", "readOnly": True}


def test_secrets_reach_the_engine_by_reference() -> None:
    token, key = {"name": "hub", "key": "token"}, {"name": "api", "key": "key"}
    variables = env(
        model={"source": {"huggingFace": {"tokenSecretRef": token}}},
        speculator={"source": {"huggingFace": {"tokenSecretRef": token}}},
        engine={"apiKeySecretRef": key},
    )
    assert variables["HF_TOKEN"] == {"secretKeyRef": token}
    assert variables["VLLM_API_KEY"] == {"secretKeyRef": key}
    assert {"HF_TOKEN", "VLLM_API_KEY"}.isdisjoint(env())


def test_a_users_variables_stand_last_and_replace_the_conveniences() -> None:
    given = [{"name": "SPECDEC_SIM_SEED", "value": "7"}, {"name": "HOME", "value": "/home/me"}]
    listed = container(engine={"env": given})["env"]
    assert listed[-2:] == given
    assert [each["name"] for each in listed].count("HOME") == 1


def test_a_step_may_take_as_long_as_its_kernels_take_to_compile() -> None:
    name = "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS"
    assert env()[name] == "900"
    assert env(engine={"env": [{"name": name, "value": "60"}]})[name] == "60"


def test_only_our_plugins_are_loaded() -> None:
    assert env()["VLLM_PLUGINS"].split(",") == ["specdec_engine", "specdec_http"]


def test_pods_go_to_h200_nodes() -> None:
    assert node_terms() == [{"matchExpressions": [H200]}]
    assert "affinity" not in pod(placement={"gpuProduct": []})


def test_the_product_is_required_beside_each_of_the_users_own_terms() -> None:
    zone = {"key": "zone", "operator": "In", "values": ["a"]}
    own = {"nodeSelectorTerms": [{"matchExpressions": [zone]}, {"matchFields": []}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": own}, "podAffinity": {}}
    terms = node_terms(placement={"affinity": affinity})
    assert terms == [{"matchExpressions": [zone, H200]}, {"matchFields": [], "matchExpressions": [H200]}]
    assert pod(placement={"affinity": affinity, "gpuProduct": []})["affinity"] == affinity


def test_placement_is_passed_on() -> None:
    spread = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule"}
    placed = pod(
        placement={
            "nodeSelector": {"pool": "gpu"},
            "tolerations": [{"key": "team", "operator": "Exists"}],
            "topologySpreadConstraints": [spread],
            "priorityClassName": "high",
        }
    )
    assert placed["nodeSelector"] == {"pool": "gpu"}
    assert placed["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "team", "operator": "Exists"},
    ]
    assert placed["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"]["specdec.dev/resource"] == "demo"
    assert placed["priorityClassName"] == "high"


def test_the_overlay_has_the_last_word_but_not_over_the_labels_that_select_pods() -> None:
    overlay = {
        "metadata": {"labels": {"team": "search", "specdec.dev/role": "mine"}, "annotations": {"a": "b"}},
        "spec": {
            "imagePullSecrets": [{"name": "registry"}],
            "containers": [
                {"name": "engine", "imagePullPolicy": "Always", "lifecycle": {"$patch": "delete"}},
                {"name": "sidecar"},
            ],
        },
    }
    template = pod_template(resource(podTemplate=overlay), Role.TRIAL, Start(7, None))
    assert template["metadata"]["labels"]["team"] == "search"
    assert template["metadata"]["labels"]["specdec.dev/role"] == "trial"
    assert template["metadata"]["annotations"]["a"] == "b"
    assert template["spec"]["imagePullSecrets"] == [{"name": "registry"}]
    engine, sidecar = template["spec"]["containers"]
    assert (engine["imagePullPolicy"], sidecar) == ("Always", {"name": "sidecar"})
    assert "lifecycle" not in engine
    assert engine["command"][:2] == ["vllm", "serve"]


def test_labels_survive_an_overlay_that_removes_all_metadata() -> None:
    template = pod_template(resource(podTemplate={"metadata": {"$patch": "delete"}}), Role.STABLE, Start(7, None))
    assert template["metadata"]["labels"]["specdec.dev/resource"] == "demo"


def test_weights_on_volumes_are_mounted_read_only() -> None:
    mounted = pod(
        model={"source": {"huggingFace": ..., "pvc": {"claimName": "weights"}}},
        speculator={"source": {"huggingFace": ..., "image": {"reference": "registry/drafter:1"}}},
    )
    volumes = {volume["name"]: volume for volume in mounted["volumes"]}
    assert volumes["target"]["persistentVolumeClaim"] == {"claimName": "weights", "readOnly": True}
    assert volumes["speculator"]["image"] == {"reference": "registry/drafter:1", "pullPolicy": "IfNotPresent"}
    read_only = {mount["mountPath"] for mount in mounted["containers"][0]["volumeMounts"] if mount.get("readOnly")}
    assert {"/models/target", "/models/speculator"} <= read_only


def test_readiness_is_judged_quickly_and_life_slowly() -> None:
    engine = container()
    unready, dead = (
        engine[probe]["periodSeconds"] * engine[probe]["failureThreshold"]
        for probe in ("readinessProbe", "livenessProbe")
    )
    assert unready <= 10
    assert math.isclose(dead, 60)
