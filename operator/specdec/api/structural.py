"""pydantic's JSON Schema -> the structural schema that a CustomResourceDefinition takes.

References are inlined, "or null" becomes "not required", lists of structs become maps with keys. What Kubernetes
cannot express raises SchemaError: better no CRD than one that admits what the models refuse.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from specdec.api.rules import VALIDATIONS

Schema = dict[str, Any]

INT_OR_STRING: Final = "x-kubernetes-int-or-string"
PRESERVE: Final = "x-kubernetes-preserve-unknown-fields"
LIST_TYPE: Final = "x-kubernetes-list-type"
LIST_MAP_KEYS: Final = "x-kubernetes-list-map-keys"

_KEPT: Final = (
    *("type", "description", "format", "enum", "minimum", "maximum", "multipleOf", "pattern"),
    *("minLength", "maxLength", "minItems", "maxItems", "maxProperties", "minProperties"),
    *("default", INT_OR_STRING, PRESERVE, LIST_TYPE, LIST_MAP_KEYS, VALIDATIONS),
)
_DROPPED: Final = (
    "title",
    "additionalProperties",
    "properties",
    "required",
    "items",
    "anyOf",
    "allOf",
    "$ref",
    "$defs",
)


class SchemaError(ValueError):
    """A model uses what a structural schema cannot express; the message names the path in the model."""


def structural(schema: Schema) -> Schema:
    """Convert a whole model schema (`Model.model_json_schema()`)."""
    return _convert(schema, schema.get("$defs", {}), "")


def _convert(schema: Schema, definitions: Mapping[str, Schema], path: str) -> Schema:
    schema = _resolved(schema, definitions, path)
    unknown = schema.keys() - {*_KEPT, *_DROPPED}
    if unknown:
        raise SchemaError(f"{path or '.'}: a structural schema has no {', '.join(sorted(unknown))}")
    kept: Schema = {key: schema[key] for key in _KEPT if key in schema}
    if INT_OR_STRING not in kept and "type" not in kept and PRESERVE not in kept:
        raise SchemaError(f"{path or '.'}: has no type; a structural schema needs one everywhere")
    match kept.get("type"):
        case "object":
            kept |= _object(schema, definitions, path)
        case "array":
            kept |= _array(schema, definitions, path)
    return kept


def _object(schema: Schema, definitions: Mapping[str, Schema], path: str) -> Schema:
    properties = schema.get("properties")
    values = schema.get("additionalProperties", False)
    if properties is None:
        return _map(values, definitions, path)
    if isinstance(values, dict):
        raise SchemaError(f"{path}: has both fields and free keys; a structural schema allows one of them")
    converted = {name: _convert(part, definitions, f"{path}.{name}") for name, part in properties.items()}
    required = [name for name in schema.get("required", ()) if "default" not in converted[name]]
    filled = {"default": _without_nulls(schema["default"])} if "default" in schema else {}
    return {"properties": converted, **filled} | ({"required": required} if required else {})


def _map(values: Any, definitions: Mapping[str, Schema], path: str) -> Schema:
    if values is True or (isinstance(values, dict) and not _without_default(_resolved(values, definitions, path))):
        return {PRESERVE: True}
    if isinstance(values, dict):
        return {"additionalProperties": _convert(values, definitions, f"{path}.*")}
    raise SchemaError(f"{path}: an object without fields; give it fields or a type of its values")


def _array(schema: Schema, definitions: Mapping[str, Schema], path: str) -> Schema:
    items = schema.get("items")
    if items is None:
        raise SchemaError(f"{path}: a list of unlike items; a structural schema has one type for all")
    kind = {} if LIST_TYPE in schema else {LIST_TYPE: "map" if LIST_MAP_KEYS in schema else "atomic"}
    return {"items": _convert(items, definitions, f"{path}[]"), **kind}


def _resolved(schema: Schema, definitions: Mapping[str, Schema], path: str) -> Schema:
    """Without $ref, "or null" and the null default that goes with it."""
    if "$ref" in schema:
        target = definitions[schema["$ref"].rpartition("/")[2]]
        schema = {**target, **{key: value for key, value in schema.items() if key != "$ref"}}
        return _resolved(schema, definitions, path)
    if "anyOf" in schema:
        return _resolved(_not_null(schema, path), definitions, path)
    if schema.get("default", ...) is None:
        schema = _without_default(schema)
    return schema


def _not_null(schema: Schema, path: str) -> Schema:
    alternatives = [part for part in schema["anyOf"] if part != {"type": "null"}]
    if len(alternatives) != 1:
        raise SchemaError(f"{path}: is one of several types; a structural schema has one, so split the field")
    outer = {key: value for key, value in schema.items() if key != "anyOf"}
    return {**alternatives[0], **outer}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(part) for key, part in value.items() if part is not None}
    return value


def _without_default(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key not in ("default", "title")}
