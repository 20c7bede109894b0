"""Settings -> values.schema.json (JSON Schema, draft 7), by which Helm refuses misspelt and mistyped values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from charts.reference.comments import CommentError, Setting


def render(settings: Sequence[Setting], title: str) -> str:
    """The text of values.schema.json."""
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": title,
        **_object(settings),
    }
    # Helm hands every chart its parent's `global`, asked for or not.
    schema["properties"]["global"] = {"type": "object"}
    return json.dumps(schema, indent=2) + "\n"


def _object(settings: Sequence[Setting]) -> dict[str, Any]:
    properties = {setting.path[-1]: _property(setting) for setting in settings}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _property(setting: Setting) -> dict[str, Any]:
    shape = _object(setting.children) if setting.children else _leaf(setting)
    words = {"description": setting.text} if setting.text else {}
    return {**words, **shape, **setting.hint}


def _leaf(setting: Setting) -> dict[str, Any]:
    match setting.default:
        case bool():
            return {"type": "boolean", "default": setting.default}
        case int():
            return {"type": "integer", "default": setting.default}
        case str():
            return {"type": "string", "default": setting.default}
        case dict():
            return {"type": "object", "default": setting.default}
        case list() if "items" in setting.hint:
            return {"type": "array", "default": setting.default}
    raise CommentError(
        f"line {setting.line}: the type of {setting.name} cannot be told from its default;"
        " give `items` of a list in a `# schema:` comment, and let every other default be of its type"
    )
