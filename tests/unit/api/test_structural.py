"""What pydantic says and Kubernetes cannot take is converted or refused loudly."""

from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, JsonValue

from specdec.api.rules import Model
from specdec.api.structural import SchemaError, structural


class Colour(StrEnum):
    RED = "red"


class Inner(Model):
    """A struct."""

    size: int = 3
    note: str | None = None


class Outer(Model):
    inner: Inner = Inner()
    needed: str
    maybe: Inner | None = None
    colour: Colour = Colour.RED
    several: tuple[Inner, ...] = ()
    free: dict[str, JsonValue] = {}  # noqa: RUF012
    labels: dict[str, str] = {}  # noqa: RUF012
    named: Annotated[tuple[Inner, ...], Field(json_schema_extra={"x-kubernetes-list-map-keys": ["size"]})] = ()


def converted(model: type[Model]) -> dict[str, Any]:
    return structural(model.model_json_schema(by_alias=True))


def test_references_are_inlined_and_null_means_not_required() -> None:
    properties = converted(Outer)["properties"]
    assert properties["maybe"]["properties"]["size"] == {"type": "integer", "default": 3}
    assert "default" not in properties["maybe"]
    assert properties["inner"]["properties"]["note"] == {"type": "string"}
    assert converted(Outer)["required"] == ["needed"]


def test_a_default_struct_holds_no_null() -> None:
    assert converted(Outer)["properties"]["inner"]["default"] == {"size": 3}


def test_lists_say_how_they_merge() -> None:
    properties = converted(Outer)["properties"]
    assert properties["several"]["x-kubernetes-list-type"] == "atomic"
    assert properties["named"]["x-kubernetes-list-type"] == "map"


def test_maps_and_free_structs() -> None:
    properties = converted(Outer)["properties"]
    assert properties["labels"]["additionalProperties"] == {"type": "string"}
    assert properties["free"] == {"type": "object", "default": {}, "x-kubernetes-preserve-unknown-fields": True}
    assert properties["colour"]["enum"] == ["red"]


class Either(Model):
    value: int | str


class Above(Model):
    value: Annotated[float, Field(gt=0)]


class Only(Model):
    value: Literal["a"]


class Pair(Model):
    value: tuple[int, str]


class Anything(Model):
    value: JsonValue


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Either, ".value: is one of several types; a structural schema has one, so split the field"),
        (Above, ".value: a structural schema has no exclusiveMinimum"),
        (Only, ".value: a structural schema has no const"),
        (Pair, ".value: a structural schema has no prefixItems"),
        (Anything, ".value: has no type; a structural schema needs one everywhere"),
    ],
)
def test_what_cannot_be_said_is_refused_with_its_place(model: type[Model], said: str) -> None:
    with pytest.raises(SchemaError, match="^" + said.replace(".", r"\.")):
        converted(model)


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "array"}, "a list of unlike items"),
        ({"type": "object"}, "an object without fields"),
        (
            {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}},
            "has both fields and free keys",
        ),
    ],
)
def test_shapes_that_no_model_of_ours_has_are_refused_too(schema: dict[str, Any], said: str) -> None:
    with pytest.raises(SchemaError, match=said):
        structural(schema)
