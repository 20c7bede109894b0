"""The reference page for users, made from the same schema as the CRD."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from specdec.api import names
from specdec.api.conditions import REASONS, Condition, EventReason
from specdec.api.crd import COLUMNS, schema
from specdec.api.engine import OWNED_ARGUMENTS, OWNED_ENV
from specdec.api.rules import VALIDATIONS
from specdec.api.structural import INT_OR_STRING, LIST_MAP_KEYS, PRESERVE, Schema

HEAD: Final = f"""<!-- Made by `make generate` from operator/specdec/api; edit there. -->

# Reference: {names.KIND}

Group `{names.GROUP}`, version `{names.VERSION}`, short name `{names.SHORT_NAME}`, category `all`, subresources
`status` and `scale`.
Durations are a whole number with one unit (`40ms`, `90s`, `30m`, `4h`). Quantities are written as everywhere in
Kubernetes (`16Gi`, `500m`). Secrets and claims are looked up in the resource's own namespace.

Who may create one can run pods in its namespace, with any Secret of that namespace, just as with a Deployment.
"""

MEANINGS: Final = {
    Condition.READY: "All replicas serve and run what the spec asks for.",
    Condition.RECONCILING: "A rollout is under way. True is the exception (kstatus).",
    Condition.STALLED: "Something only you can repair stands in the way; the message names the remedy (kstatus).",
    Condition.MODEL_CACHED: "A new pod finds the weights in a cache that outlives pods.",
    Condition.CAPACITY_AVAILABLE: "Every pod has found a node with enough GPUs.",
    Condition.METRICS_AVAILABLE: "The pods' metrics are read and recent.",
    Condition.SPECULATION_ACTIVE: "The engines draft tokens right now.",
    Condition.SPECULATION_BENEFICIAL: "What is in force is not slower than the untuned K; the message has the figures.",
    Condition.TUNED: "K is where the tuner wants it; else the reason says why it holds.",
    Condition.TRIAL_IN_PROGRESS: "A trial compares two values of K.",
}


def reference_page() -> str:
    """The whole page as Markdown."""
    whole = schema()["properties"]
    parts = [
        HEAD,
        *_section("Spec", "spec", whole["spec"]),
        *_section("Status", "status", whole["status"]),
        *_columns(),
        *_conditions(),
        *_owned(),
    ]
    return "\n".join(parts) + "\n"


def _section(title: str, path: str, part: Schema) -> Iterator[str]:
    yield f"## {title}\n\n| field | type | default | meaning |\n|---|---|---|---|"
    yield from (_row(*field) for field in _fields(path, part))
    rules = [(at, rule) for at, each in _walk(path, part) for rule in each.get(VALIDATIONS, ())]
    if rules:
        yield "\nBeyond types and ranges this is refused, in the words of the API server:\n"
        yield "| field | message |\n|---|---|"
        yield from (f"| `{at}{rule.get('fieldPath', '')}` | {_cell(_said(rule))} |" for at, rule in rules)
    yield ""


def _fields(path: str, part: Schema) -> Iterator[tuple[str, Schema, bool]]:
    for parent, each in _walk(path, part):
        for name, child in each.get("properties", {}).items():
            yield f"{parent}.{name}", child, name in each.get("required", ())


def _walk(path: str, part: Schema) -> Iterator[tuple[str, Schema]]:
    """`part` and all structs within it, depth first."""
    yield path, part
    for name, child in part.get("properties", {}).items():
        inner, suffix = (child["items"], "[]") if child.get("type") == "array" else (child, "")
        if "properties" in inner:
            yield from _walk(f"{path}.{name}{suffix}", inner)


def _row(path: str, part: Schema, required: bool) -> str:
    return f"| `{path}` | {_type(part)} | {_default(part, required)} | {_cell(part.get('description', ''))} |"


def _default(part: Schema, required: bool) -> str:
    if required:
        return "required"
    # a struct's default is that of its fields, which have rows of their own
    shown = "default" in part and "properties" not in part
    return f"`{json.dumps(part['default'])}`" if shown else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _type(part: Schema) -> str:
    if INT_OR_STRING in part:
        return "integer or string" if "maximum" in part else "quantity"
    if "enum" in part:
        return ", ".join(f"`{value}`" for value in part["enum"])
    if part["type"] == "array":
        keys = ", ".join(part.get(LIST_MAP_KEYS, ()))
        return f"list of {_type(part['items'])}" + (f", key {keys}" if keys else "")
    if part["type"] == "object":
        return "object, passed on" if PRESERVE in part else "map" if "additionalProperties" in part else "object"
    return str(part["type"]) + _bounds(part)


def _bounds(part: Schema) -> str:
    low, high = part.get("minimum"), part.get("maximum")
    if low is not None and high is not None:
        return f" {low}..{high}"
    return f" >= {low}" if low is not None else ""


def _said(rule: dict[str, Any]) -> str:
    if "message" in rule:
        return str(rule["message"])
    text: str = rule["messageExpression"].rpartition(".format(")[0]
    return text.strip("'").replace("\\'", "'").replace("%s", "{…}").replace("%%", "%")


def _columns() -> Iterator[str]:
    yield "## Columns of `kubectl get specdep`\n\n| column | shows | |\n|---|---|---|"
    for name, _, path, priority, description in COLUMNS:
        yield f"| {name.upper()} | {description or 'Time since creation'} (`{path}`) | {'wide' if priority else ''} |"
    yield ""


def _conditions() -> Iterator[str]:
    yield "## Conditions\n\n| type | true when | reasons that children and pods give |\n|---|---|---|"
    for condition, meaning in MEANINGS.items():
        reasons = ", ".join(f"`{reason}`" for reason in REASONS.get(condition, ()))
        yield f"| `{condition}` | {meaning} | {reasons or 'told by the tuner'} |"
    yield "\nFurther event reasons: " + ", ".join(f"`{reason}`" for reason in EventReason) + "."
    yield ""


def _owned() -> Iterator[str]:
    yield "## What the operator sets itself\n\nRefused in `spec.engine.args` and `spec.engine.env`.\n"
    yield "| argument or variable | use instead |\n|---|---|"
    yield from (f"| `{name}` | {instead} |" for name, instead in {**OWNED_ARGUMENTS, **OWNED_ENV}.items())
    yield f"\nSetting the annotation `{names.ANNOTATION_RESTART}` to any new value restarts the pods."
