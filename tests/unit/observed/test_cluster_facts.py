"""What only the cluster can say is told with its remedy."""

from typing import Any

import pytest

from specdec import observed
from specdec.api.conditions import Condition
from specdec.api.status import Status
from specdec.observed import Snapshot
from tests.support.cluster_facts import deployment, pod, seen
from tests.support.resource import resource

NOON = "2026-01-01T12:00:00Z"
LOADING = {"exitCode": 1, "reason": "Error", "startedAt": "2026-01-01T11:00:00Z", "finishedAt": "2026-01-01T11:01:00Z"}


def told(snapshot: Snapshot, condition: Condition, before: Status | None = None, **spec: Any) -> tuple[str, str, str]:
    entry = observed.status(resource(**spec), snapshot, None, NOON, before).status.condition(condition)
    assert entry
    return entry.status, entry.reason, entry.message


def crashed(message: str = "", **end: Any) -> dict[str, Any]:
    waiting = ("CrashLoopBackOff", "back-off restarting failed container")
    return pod(ready=False, restarts=3, waiting=waiting, ended={**LOADING, "message": message, **end})


@pytest.mark.parametrize(
    ("body", "reason", "said"),
    [
        pytest.param(
            pod(ready=False, waiting=("ImagePullBackOff", 'Back-off pulling image "specdec/vllm:dev": not found')),
            "ImagePullFailed",
            'pod demo-1: Back-off pulling image "specdec/vllm:dev": not found; correct spec.engine.image '
            "(specdec/vllm:dev), or add a pull secret to spec.podTemplate",
            id="image",
        ),
        pytest.param(
            pod(ready=False, waiting=("CreateContainerConfigError", 'secret "hugging-face" not found')),
            "SecretMissing",
            "Secret hugging-face does not exist; create it in namespace default, the pods pick it up by themselves",
            id="secret",
        ),
        pytest.param(
            pod(ready=False, waiting=("CreateContainerConfigError", "couldn't find key token in Secret default/hub")),
            "SecretMissing",
            "key token of Secret hub does not exist; create it in namespace default",
            id="key of a secret",
        ),
        pytest.param(
            pod(ready=False, waiting=("CreateContainerConfigError", "container has runAsNonRoot and image is root")),
            "ContainerConfigInvalid",
            "container has runAsNonRoot and image is root; correct spec.engine or spec.podTemplate",
            id="container",
        ),
        pytest.param(
            pod(unschedulable='0/3 nodes are available: persistentvolumeclaim "weights" not found.'),
            "ClaimMissing",
            "PersistentVolumeClaim weights does not exist; create it in namespace default, or name another in the spec",
            id="claim",
        ),
        pytest.param(
            crashed("huggingface_hub.errors.RepositoryNotFoundError: 404 Client Error.\n"),
            "WeightsNotFound",
            "correct spec.model.source or spec.speculator.source (repository, revision, path)",
            id="weights",
        ),
        pytest.param(
            crashed("OSError: You are trying to access a gated repo.\n401 Client Error: Unauthorized"),
            "AccessDenied",
            "says: '401 Client Error: Unauthorized'; name a Secret with a token that may read the repository",
            id="gated",
        ),
        pytest.param(
            crashed("OSError: We couldn't connect to 'https://huggingface.co' to load the files"),
            "HubUnreachable",
            "let the pods reach the hub (DNS and port 443, or HTTPS_PROXY in spec.engine.env and the proxy's port in "
            "spec.networkPolicy.extraEgress), or keep the weights",
            id="no way to the hub",
        ),
        pytest.param(
            crashed("first\n  assert param.size() == loaded_weight.shape\nlast"),
            "DrafterDoesNotFit",
            "says: 'assert param.size() == loaded_weight.shape'; use the drafter that was trained for this target",
            id="drafter",
        ),
        pytest.param(
            crashed("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"),
            "OutOfGpuMemory",
            "raise spec.engine.parallelism.tensor, or lower maxModelLen, maxNumSeqs or gpuMemoryUtilization",
            id="GPU memory",
        ),
        pytest.param(
            crashed(reason="OOMKilled", exitCode=137),
            "OutOfMemory",
            "pod demo-1 ran out of memory; raise spec.engine.resources.limits",
            id="memory",
        ),
        pytest.param(
            crashed("one\nsomething odd happened\n\n"),
            "EngineCrashed",
            "ended with exit code 1 after 3 restarts, last line: 'something odd happened'; see kubectl logs demo-1",
            id="an unknown crash",
        ),
        pytest.param(crashed(), "EngineCrashed", "last line: ''", id="a silent crash"),
        pytest.param(
            crashed(exitCode=137, finishedAt="2026-01-01T11:40:05Z"),
            "StartTooSlow",
            "was not ready 2400 s after its start and was restarted; raise spec.engine.startupTimeoutSeconds",
            id="a start that takes too long",
        ),
        pytest.param(crashed(startedAt="?"), "EngineCrashed", "exit code 1", id="times that cannot be read"),
    ],
)
def test_trouble_has_a_reason_and_a_remedy(body: dict[str, Any], reason: str, said: str) -> None:
    status, found, message = told(seen(deployment(ready=0), body), Condition.STALLED)
    assert (status, found) == ("True", reason)
    assert said in message


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(pod(restarts=2, ended=LOADING), id="an engine that serves again"),
        pytest.param(
            pod(ready=False, started=True, restarts=3, ended={**LOADING, "reason": "OOMKilled", "exitCode": 137}),
            id="a blip of readiness long after an end",
        ),
        pytest.param(pod(ready=False), id="an engine that loads"),
        pytest.param(pod(ready=False, restarts=1, ended=LOADING), id="an engine that loads again after an odd end"),
        pytest.param(pod(ready=False, waiting=("ContainerCreating", "")), id="a pod that is being made"),
        pytest.param(
            pod(ready=False, ended={"exitCode": 0, "reason": "Completed"}), id="an engine that was told to end"
        ),
        pytest.param({**pod(ready=False), "status": {}}, id="a pod of which nothing is known"),
        pytest.param(
            crashed() | {"metadata": {"name": "demo-1", "deletionTimestamp": NOON}}, id="a pod on its way out"
        ),
        pytest.param(pod(ready=False, phase="Failed", ended=LOADING), id="an evicted pod"),
    ],
)
def test_what_is_no_trouble_stalls_nothing(body: dict[str, Any]) -> None:
    assert told(seen(deployment(ready=0), body), Condition.STALLED)[:2] == ("False", "Progressing")


def test_the_gravest_trouble_is_told_first_whichever_pod_has_it() -> None:
    missing = pod("demo-2", ready=False, waiting=("CreateContainerConfigError", 'secret "hub" not found'))
    assert told(seen(deployment(ready=0), crashed(), missing), Condition.STALLED)[1] == "SecretMissing"


def test_an_engine_that_has_just_ended_is_judged_before_it_is_restarted() -> None:
    body = pod(ready=False)
    body["status"]["containerStatuses"][0]["state"] = {"terminated": {**LOADING, "message": "CUDA out of memory"}}
    assert told(seen(deployment(ready=0), body), Condition.STALLED)[1] == "OutOfGpuMemory"


@pytest.mark.parametrize(
    ("snapshot", "expected", "said"),
    [
        pytest.param(seen(deployment(), pod()), ("True", "PodsScheduled"), "1 of 1 pods have a node", id="placed"),
        pytest.param(seen(deployment(0)), ("Unknown", "NoPods"), "no pod asks for a node", id="no pods"),
        pytest.param(
            seen(pod(scheduled=False)), ("Unknown", "NoPods"), "has not looked at every pod yet", id="not looked at yet"
        ),
        pytest.param(
            seen(pod(unschedulable="0/3 nodes are available: 3 Insufficient nvidia.com/gpu.")),
            ("False", "InsufficientGpus"),
            "1 of 1 pods found no node; each needs 4 free GPUs on one node: add a node, free GPUs, or lower",
            id="full nodes",
        ),
        pytest.param(
            seen(pod(unschedulable="0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.")),
            ("False", "NoMatchingNode"),
            "no node has nvidia.com/gpu.product of NVIDIA-H200 and fits spec.placement: add one",
            id="no H200",
        ),
        pytest.param(
            seen(pod(unschedulable="0/3 nodes are available: 3 Insufficient memory.")),
            ("False", "Unschedulable"),
            "make room, or change spec.placement or spec.engine.resources",
            id="no memory",
        ),
        pytest.param(
            seen(pod(unschedulable="0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.")),
            ("False", "VolumeNotBound"),
            "name a storage class that offers the access mode in spec.engine.cache",
            id="a claim that nobody fills",
        ),
        pytest.param(
            seen(pod(unschedulable="0/9 nodes are available: " + "x" * 300)),
            ("False", "Unschedulable"),
            "xx…",
            id="a long story",
        ),
    ],
)
def test_capacity_is_told(snapshot: Snapshot, expected: tuple[str, str], said: str) -> None:
    status, reason, message = told(snapshot, Condition.CAPACITY_AVAILABLE)
    assert (status, reason) == expected
    assert said in message


def test_without_a_product_any_gpu_node_would_do() -> None:
    lonely = seen(pod(unschedulable="0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."))
    message = told(lonely, Condition.CAPACITY_AVAILABLE, placement={"gpuProduct": []})[2]
    assert "no node has nvidia.com/gpu.product of any value and fits spec.placement" in message


VOLUME = {"huggingFace": ..., "pvc": {"claimName": "weights"}}


@pytest.mark.parametrize(
    ("spec", "ready", "expected"),
    [
        ({}, True, ("False", "CacheIsEphemeral")),
        ({"engine": {"cache": {"size": "1Ti"}}}, False, ("Unknown", "CacheFilling")),
        ({"engine": {"cache": {"size": "1Ti"}}}, True, ("True", "CacheFilled")),
        ({"model": {"source": VOLUME}, "speculator": {"source": VOLUME}}, False, ("True", "ModelOnVolume")),
        ({"model": {"source": VOLUME}}, True, ("False", "CacheIsEphemeral")),
    ],
)
def test_the_cache_is_told(spec: dict[str, Any], ready: bool, expected: tuple[str, str]) -> None:
    assert told(seen(deployment(), pod(ready=ready)), Condition.MODEL_CACHED, **spec)[:2] == expected


def test_a_cache_that_was_filled_stays_filled_while_pods_restart() -> None:
    cached: dict[str, Any] = {"engine": {"cache": {"existingClaim": "mine"}}}
    before = observed.status(resource(**cached), seen(deployment(), pod()), None, NOON).status
    down = seen(deployment(ready=0), pod(ready=False))
    assert told(down, Condition.MODEL_CACHED, before, **cached)[:2] == ("True", "CacheFilled")
