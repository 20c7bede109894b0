"""Names that more than one room uses: the API group, labels, annotations, children, ports, files, environment."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

GROUP: Final = "specdec.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "SpeculativeDeployment"
PLURAL: Final = "speculativedeployments"
SINGULAR: Final = "speculativedeployment"
SHORT_NAME: Final = "specdep"

# A resource's name is the prefix of its children; the longest suffix must leave a DNS label of 63 characters.
MAX_NAME_LENGTH: Final = 50

# Labels of every child.
LABEL_NAME: Final = "app.kubernetes.io/name"
LABEL_INSTANCE: Final = "app.kubernetes.io/instance"
LABEL_COMPONENT: Final = "app.kubernetes.io/component"
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
LABEL_OWNER: Final = f"{GROUP}/resource"
LABEL_ROLE: Final = f"{GROUP}/role"
APP_NAME: Final = "specdec-engine"
MANAGED_BY: Final = "specdec-operator"

LABEL_GPU_PRODUCT: Final = "nvidia.com/gpu.product"
GPU_RESOURCE: Final = "nvidia.com/gpu"

# On the resource, set by the user: any new value renders the pod template anew and restarts the pods.
ANNOTATION_RESTART: Final = f"{GROUP}/restart"
# On every child: digest of the manifest as rendered, so that an unchanged child is not written again.
ANNOTATION_DIGEST: Final = f"{GROUP}/manifest-digest"
# On the Deployment: what its pod template was rendered from, in case that the checkpoint is lost.
ANNOTATION_INPUTS: Final = f"{GROUP}/rendered-from"
# On pods, for humans: the start value of their engine.
ANNOTATION_START_K: Final = f"{GROUP}/start-num-speculative-tokens"

CONTAINER: Final = "engine"
HTTP_PORT: Final = 8000
HTTP_PORT_NAME: Final = "http"

ENV_CONTROL_TOKEN_FILE: Final = "SPECDEC_CONTROL_TOKEN_FILE"
CONTROL_TOKEN_KEY: Final = "token"
CONTROL_TOKEN_DIR: Final = "/var/run/specdec/control"
CONTROL_TOKEN_FILE: Final = f"{CONTROL_TOKEN_DIR}/{CONTROL_TOKEN_KEY}"

# Entry points of our vLLM plugin, exactly these are loaded.
ENGINE_PLUGINS: Final = ("specdec_engine", "specdec_http")

CACHE_DIR: Final = "/var/cache/specdec"
TARGET_DIR: Final = "/models/target"
SPECULATOR_DIR: Final = "/models/speculator"

CHECKPOINT_KEY: Final = "checkpoint.json"
# What stood there when it could not be read.
UNREADABLE_KEY: Final = "unreadable-checkpoint"


class Role(StrEnum):
    """Which of the two Deployments a pod belongs to; value of the label `specdec.dev/role`."""

    STABLE = "stable"
    TRIAL = "trial"


def deployment(resource: str, role: Role = Role.STABLE) -> str:
    """The stable Deployment bears the resource's own name."""
    return resource if role is Role.STABLE else f"{resource}-trial"


def service(resource: str) -> str:
    return resource


def pod_disruption_budget(resource: str) -> str:
    return resource


def network_policy(resource: str) -> str:
    return f"{resource}-engine"


def service_account(resource: str) -> str:
    return f"{resource}-engine"


def control_secret(resource: str) -> str:
    return f"{resource}-control"


def checkpoint(resource: str) -> str:
    return f"{resource}-checkpoint"


def cache_claim(resource: str) -> str:
    return f"{resource}-cache"


def pod_monitor(resource: str) -> str:
    return f"{resource}-engine"


def selector(resource: str) -> dict[str, str]:
    """Labels that select all engine pods of a resource, stable and trial alike. Immutable once released."""
    return {LABEL_NAME: APP_NAME, LABEL_OWNER: resource}


def selector_text(resource: str) -> str:
    """`selector` in the form of `kubectl -l` and of the scale subresource."""
    return ",".join(f"{key}={value}" for key, value in sorted(selector(resource).items()))
