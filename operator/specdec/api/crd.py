"""The CustomResourceDefinition, made from the models."""

from __future__ import annotations

from typing import Any, Final

from specdec.api import names
from specdec.api.resource import SpeculativeDeployment
from specdec.api.structural import Schema, structural

READY: Final = '.status.conditions[?(@.type=="Ready")]'
COLUMNS: Final = (
    ("Ready", "string", f"{READY}.status", 0, "Whether all replicas serve"),
    ("K", "integer", ".status.speculation.numSpeculativeTokens", 0, "num_speculative_tokens at the present batch size"),
    ("Accepted", "string", ".status.acceptance.meanAcceptedLength", 0, "Tokens per draft, the bonus token included"),
    ("Tok/s", "integer", ".status.performance.tokensPerSecond", 0, "Generated tokens per second of all pods"),
    ("Gain", "integer", ".status.performance.gainPercent", 0, "Percent more tokens per second than untuned"),
    ("Age", "date", ".metadata.creationTimestamp", 0, ""),
    ("Method", "string", ".spec.speculator.method", 1, "How the engine drafts"),
    ("Switching", "string", ".status.speculation.switching", 1, "How a new K reaches the engines"),
    ("Reason", "string", '.status.conditions[?(@.type=="Tuned")].reason', 1, "What the tuner does and why"),
)
NAME: Final = f"{names.PLURAL}.{names.GROUP}"


def schema() -> Schema:
    """The structural schema of the resource."""
    converted = structural(SpeculativeDeployment.model_json_schema(by_alias=True, mode="validation"))
    converted["properties"]["metadata"] = {"type": "object", "properties": {"name": {"type": "string"}}}
    converted["properties"]["status"].pop("default", None)
    kinds = {
        "apiVersion": {"type": "string", "description": f"Always {names.API_VERSION}."},
        "kind": {"type": "string", "description": f"Always {names.KIND}."},
    }
    return {**converted, "properties": kinds | converted["properties"], "required": ["spec"]}


def custom_resource_definition() -> dict[str, Any]:
    """The whole object, ready for `kubectl apply`."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": NAME},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": names.KIND,
                "listKind": f"{names.KIND}List",
                "plural": names.PLURAL,
                "singular": names.SINGULAR,
                "shortNames": [names.SHORT_NAME],
                "categories": ["all"],
            },
            "versions": [_version()],
        },
    }


def _version() -> dict[str, Any]:
    return {
        "name": names.VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema()},
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "additionalPrinterColumns": [_column(*column) for column in COLUMNS],
    }


def _column(name: str, type_: str, path: str, priority: int, description: str) -> dict[str, Any]:
    column = {"name": name, "type": type_, "jsonPath": path, "priority": priority, "description": description}
    return {key: value for key, value in column.items() if value not in (0, "")}
