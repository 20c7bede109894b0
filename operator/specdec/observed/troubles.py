"""What stands in the way of a pod, read off its status: a list of named checks, each with the remedy."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from specdec.api.conditions import Reason
from specdec.api.manifest import Json
from specdec.api.resource import SpeculativeDeployment
from specdec.observed.snapshot import Pod

SAID_LIMIT: Final = 300
REPEATED: Final = 2


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that a user has to repair. message: what happened, where, and what to do."""

    reason: Reason
    message: str


Check = Callable[[Pod, SpeculativeDeployment], Trouble | None]


def image_cannot_be_pulled(pod: Pod, resource: SpeculativeDeployment) -> Trouble | None:
    reasons = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
    waiting = _waiting(pod, reasons)
    if waiting is None:
        return None
    remedy = f"correct spec.engine.image ({resource.spec.engine.image}), or add a pull secret to spec.podTemplate"
    return Trouble(Reason.IMAGE_PULL_FAILED, f"pod {pod.name}: {_said(waiting)}; {remedy}")


def secret_is_missing(pod: Pod, resource: SpeculativeDeployment) -> Trouble | None:
    waiting = _waiting(pod, {"CreateContainerConfigError"})
    match = re.search(r'secret "([^"]+)" not found|find key (\S+) in Secret (\S+)', _said(waiting or {}))
    if match is None:
        return None
    what = f"Secret {match[1]}" if match[1] else f"key {match[2]} of Secret {match[3].rpartition('/')[2]}"
    return Trouble(
        Reason.SECRET_MISSING,
        f"{what} does not exist; create it in namespace {resource.namespace}, the pods pick it up by themselves",
    )


def container_cannot_be_configured(pod: Pod, _: SpeculativeDeployment) -> Trouble | None:
    waiting = _waiting(pod, {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
    if waiting is None:
        return None
    remedy = "correct spec.engine or spec.podTemplate"
    return Trouble(Reason.CONTAINER_CONFIG_INVALID, f"pod {pod.name}: {_said(waiting)}; {remedy}")


def claim_is_missing(pod: Pod, resource: SpeculativeDeployment) -> Trouble | None:
    match = re.search(r'persistentvolumeclaim "([^"]+)" not found', _said(pod.condition("PodScheduled")))
    if match is None:
        return None
    remedy = f"create it in namespace {resource.namespace}, or name another in the spec"
    return Trouble(Reason.CLAIM_MISSING, f"PersistentVolumeClaim {match[1]} does not exist; {remedy}")


def engine_crashed(pod: Pod, resource: SpeculativeDeployment) -> Trouble | None:
    """Only what ended badly and has not come up again since: an engine that is up and not ready is another matter."""
    end = pod.last_end
    if pod.ready or pod.started or not end or (end.get("exitCode") == 0 and end.get("reason") == "Completed"):
        return None
    log = str(end.get("message") or "")
    if end.get("reason") == "OOMKilled":
        return Trouble(Reason.OUT_OF_MEMORY, f"pod {pod.name} ran out of memory; raise spec.engine.resources.limits")
    known = next((crash for crash in CRASHES if crash.pattern.search(log)), None)
    if known:
        line = known.pattern.search(log)
        said = _line_around(log, line.start()) if line else ""
        return Trouble(known.reason, f"pod {pod.name} says: {said!r}; {known.remedy}")
    return _too_slow(pod, end, resource) or _crashed(pod, end, _last_line(log))


def _crashed(pod: Pod, end: Json, last_line: str) -> Trouble | None:
    """An end that nobody knows is told when it repeats: one restart may well be the end of it."""
    if pod.restarts < REPEATED:
        return None
    return Trouble(
        Reason.ENGINE_CRASHED,
        f"pod {pod.name} ended with exit code {end.get('exitCode')} after {pod.restarts} restarts, last line: "
        f"{last_line!r}; see kubectl logs {pod.name} --previous",
    )


@dataclass(frozen=True, slots=True)
class Crash:
    """A way in which engines are known to end, recognised by their last words."""

    pattern: re.Pattern[str]
    reason: Reason
    remedy: str


CRASHES: Final = (
    Crash(
        re.compile(r"GatedRepo|401 Client Error|403 Client Error|Invalid credentials|Unauthorized"),
        Reason.ACCESS_DENIED,
        "name a Secret with a token that may read the repository in tokenSecretRef of the source",
    ),
    Crash(
        re.compile(
            r"RepositoryNotFound|RevisionNotFound|EntryNotFound|404 Client Error|not a valid model identifier"
            r"|[Cc]annot find any (?:model|safetensors) weights|does not appear to have a file named"
            r"|No such file or directory: '/models/"
        ),
        Reason.WEIGHTS_NOT_FOUND,
        "correct spec.model.source or spec.speculator.source (repository, revision, path)",
    ),
    Crash(
        re.compile(r"couldn't connect to 'https?://|Name or service not known|NameResolutionError|Connection refused"),
        Reason.HUB_UNREACHABLE,
        "let the pods reach the hub (DNS and port 443, or HTTPS_PROXY in spec.engine.env and the proxy's port in "
        "spec.networkPolicy.extraEgress), or keep the weights on a pvc",
    ),
    Crash(
        re.compile(
            r"size mismatch|shape mismatch|mat1 and mat2 shapes|loaded_weight\.shape|expects? \d+ .*received \d+"
            r"|Attempted to load weight"
        ),
        Reason.DRAFTER_DOES_NOT_FIT,
        "use the drafter that was trained for this target and revision, and an image whose vLLM supports the pair",
    ),
    Crash(
        re.compile(
            r"CUDA out of memory|OutOfMemoryError|No available memory for the cache blocks|Free memory on device"
        ),
        Reason.OUT_OF_GPU_MEMORY,
        "raise spec.engine.parallelism.tensor, or lower maxModelLen, maxNumSeqs or gpuMemoryUtilization",
    ),
)

CHECKS: Final[tuple[Check, ...]] = (
    secret_is_missing,
    claim_is_missing,
    image_cannot_be_pulled,
    container_cannot_be_configured,
    engine_crashed,
)


def trouble(pods: tuple[Pod, ...], resource: SpeculativeDeployment) -> Trouble | None:
    """The trouble of the first pod that has one; the order of CHECKS is the order users read about."""
    found = (check(pod, resource) for check in CHECKS for pod in pods)
    return next((each for each in found if each), None)


def _too_slow(pod: Pod, end: Json, resource: SpeculativeDeployment) -> Trouble | None:
    budget = resource.spec.engine.startup_timeout_seconds
    if _lived_seconds(end) < budget:
        return None
    return Trouble(
        Reason.START_TOO_SLOW,
        f"pod {pod.name} was not ready {budget} s after its start and was restarted; raise "
        "spec.engine.startupTimeoutSeconds, or set spec.engine.cache so that weights are not loaded anew each time",
    )


def _lived_seconds(end: Json) -> float:
    try:
        begin, finish = (datetime.fromisoformat(str(end[key])) for key in ("startedAt", "finishedAt"))
    except (KeyError, ValueError):
        return 0.0
    return (finish - begin).total_seconds()


def _waiting(pod: Pod, reasons: set[str]) -> Json | None:
    return next((state for state in pod.waiting if state.get("reason") in reasons), None)


def _said(state: Json) -> str:
    return " ".join(str(state.get("message") or state.get("reason") or "").split())[:SAID_LIMIT]


def _line_around(log: str, position: int) -> str:
    begin, end = log.rfind("\n", 0, position) + 1, log.find("\n", position)
    return log[begin : end if end >= 0 else len(log)].strip()[:SAID_LIMIT]


def _last_line(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return lines[-1][:SAID_LIMIT] if lines else ""
