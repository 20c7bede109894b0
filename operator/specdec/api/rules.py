"""Validation rules written once: CEL for the API server, the same check in Python for what slipped past it.

A rule's message is a template whose `{self.path}` placeholders become a CEL messageExpression there and are filled
in here, so both sides say the same words.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel, to_snake
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

VALIDATIONS: Final = "x-kubernetes-validations"
BROKEN: Final = "broken_rules"

_PLACEHOLDER: Final = re.compile(r"\{([^}]+)\}")


@dataclass(frozen=True, slots=True)
class Value:
    """A computed value of a message, in both languages; each yields a string."""

    cel: str
    python: Callable[[Any], str]


@dataclass(frozen=True, slots=True, eq=False)  # as an annotation it must be hashable
class Rule:
    """One thing that must hold.

    cel: true when it holds; `self` is the value that the rule is attached to.
    holds: the same in Python.
    message: what is wrong and what to do, in one line; may hold placeholders `{self.a.b}` and names of `values`.
    path: the field to blame, relative to `self`, such as ".max".
    values: further placeholders.

    As an annotation (`Annotated[str, Rule(...)]`) it checks a single value, in `Model.rules` a whole struct.
    """

    cel: str
    holds: Callable[[Any], bool]
    message: str
    path: str = ""
    values: dict[str, Value] = field(default_factory=dict)

    def to_cel(self) -> dict[str, str]:
        """The entry for x-kubernetes-validations."""
        entry = {"rule": self.cel, **self._message_entry()}
        return entry | ({"fieldPath": self.path} if self.path else {})

    def say(self, value: Any) -> str:
        """The message about a `value` that breaks the rule."""
        return _PLACEHOLDER.sub(lambda match: self._fill(match[1], value), self.message)

    def _message_entry(self) -> dict[str, str]:
        if not _PLACEHOLDER.search(self.message):
            return {"message": self.message}
        names = _PLACEHOLDER.findall(self.message)
        values = ", ".join(self.values[name].cel if name in self.values else name for name in names)
        # format, because the API server cannot bound the cost of joining texts with `+`
        template = _PLACEHOLDER.sub("%s", self.message.replace("%", "%%"))
        return {"messageExpression": f"{_cel_text(template)}.format([{values}])"}

    def _fill(self, name: str, value: Any) -> str:
        if name in self.values:
            return self.values[name].python(value)
        for part in name.split(".")[1:]:
            value = getattr(value, to_snake(part))
        return str(value)

    def _check(self, value: Any) -> Any:
        if not self.holds(value):
            raise broken([self], value)
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        return schema | {VALIDATIONS: [*schema.get(VALIDATIONS, []), self.to_cel()]}


def broken(rules: list[Rule], value: Any) -> PydanticCustomError:
    """The error that carries every broken rule: its context `found` is a list of (path, message)."""
    found = [(rule.path, rule.say(value)) for rule in rules]
    return PydanticCustomError(BROKEN, "{text}", {"text": "; ".join(text for _, text in found), "found": found})


def matching(pattern: str, message: str, also: Callable[[str], bool] = bool) -> Rule:
    """The rule that a text as a whole matches `pattern`, in the syntax that RE2 and Python share.

    also: what CEL cannot say; asked only of a text that matches.
    """
    compiled = re.compile(pattern)
    return Rule(
        cel=f"self.matches({_cel_text(f'^(?:{pattern})$')})",
        holds=lambda text: compiled.fullmatch(text) is not None and also(text),
        message=message,
    )


def _cel_text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


class Model(BaseModel):
    """A struct of the resource: camelCase outside, unknown fields refused, immutable."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        use_attribute_docstrings=True,
        json_schema_serialization_defaults_required=False,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()
    cel_only: ClassVar[tuple[Rule, ...]] = ()
    """Rules on a change (`oldSelf`), which cannot be asked of one object."""

    @model_validator(mode="after")
    def _rules_hold(self) -> Any:
        objecting = [rule for rule in self.rules if not rule.holds(self)]
        if objecting:
            raise broken(objecting, self)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler.resolve_ref_schema(handler(core))
        entries = [rule.to_cel() for rule in (*cls.rules, *cls.cel_only)]
        if entries:
            schema[VALIDATIONS] = entries
        return schema


class Loose(Model):
    """A struct that others also write: unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore")
