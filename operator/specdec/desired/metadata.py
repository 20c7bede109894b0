"""Metadata that all children share: name, labels, owner, and the digest that tells whether a child is up to date."""

from __future__ import annotations

import hashlib
import json
from typing import Final

from specdec.api import names
from specdec.api.manifest import Json, Manifest
from specdec.api.resource import SpeculativeDeployment

DIGEST_LENGTH: Final = 16


def labels(resource: SpeculativeDeployment) -> dict[str, str]:
    """Labels of every child."""
    return {
        **names.selector(resource.name),
        names.LABEL_INSTANCE: resource.name,
        names.LABEL_COMPONENT: "engine",
        names.LABEL_MANAGED_BY: names.MANAGED_BY,
    }


def owner_reference(resource: SpeculativeDeployment) -> Json:
    """Makes the garbage collector remove a child with its resource, with or without the operator."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "name": resource.name,
        "uid": resource.metadata.uid,
        "controller": True,
    }


def child(
    resource: SpeculativeDeployment,
    kind: tuple[str, str],
    name: str,
    content: Json,
    *,
    extra_labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
) -> Manifest:
    """A child of `resource`.

    kind: apiVersion and kind. content: what stands beside the metadata, such as {"spec": ...}.
    """
    body = {
        "apiVersion": kind[0],
        "kind": kind[1],
        "metadata": {
            "name": name,
            "namespace": resource.namespace,
            "labels": labels(resource) | (extra_labels or {}),
            "ownerReferences": [owner_reference(resource)],
            **({"annotations": annotations} if annotations else {}),
        },
        **content,
    }
    body["metadata"]["annotations"] = {names.ANNOTATION_DIGEST: digest(body), **(annotations or {})}
    return Manifest(body)


def digest(body: Json) -> str:
    """Changes whenever anything in `body` does."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]
