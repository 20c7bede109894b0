"""The resource as a whole, and how one is read from what the API server stores."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from specdec.api import names
from specdec.api.rules import BROKEN, Loose, Rule
from specdec.api.spec import Spec
from specdec.api.status import Status


class Metadata(Loose):
    """What we read of the object's metadata."""

    name: str
    namespace: str = "default"
    uid: str = ""
    generation: int = 0
    annotations: dict[str, str] = {}
    deletion_timestamp: str | None = None


class SpeculativeDeployment(Loose):
    """Serves a model with speculative decoding and keeps num_speculative_tokens where it pays most."""

    metadata: Metadata
    spec: Spec
    """What the user wants."""
    status: Status = Status()
    """What the operator found and did."""

    rules = (
        Rule(
            cel=f"self.metadata.name.size() <= {names.MAX_NAME_LENGTH}"
            " && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
            holds=lambda self: len(self.metadata.name) <= names.MAX_NAME_LENGTH and _is_label(self.metadata.name),
            message=f"metadata.name must be at most {names.MAX_NAME_LENGTH} characters, begin with a letter and hold "
            "only lower-case letters, digits and '-', because the Service bears it; choose another name",
            path=".metadata.name",
        ),
    )

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def namespace(self) -> str:
        return self.metadata.namespace

    @property
    def served_name(self) -> str:
        """The name under which clients ask for the model."""
        return self.spec.model.served_name or self.metadata.name


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a resource.

    path: such as "spec.tuning.max". message: what is wrong and the remedy.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def parse(stored: dict[str, Any]) -> SpeculativeDeployment | tuple[Problem, ...]:
    """Read an object of the API server; what admission would have refused comes back as its problems."""
    try:
        return SpeculativeDeployment.model_validate_json(json.dumps(stored), strict=True)
    except ValidationError as error:
        details = [detail for detail in error.errors() if detail["loc"][:1] != ("status",)]
    if not details:
        # the status is ours: one that another version wrote otherwise is written anew, and no user can repair it
        return parse({key: value for key, value in stored.items() if key != "status"})
    return tuple(problem for detail in details for problem in _problems(detail))


_REMEDIES: Final = {
    "missing": "is missing; set it",
    "extra_forbidden": "is not a field of this version; remove it, or check its spelling against docs/reference.md",
    "enum": "is {input}, but must be {expected}; use one of these",
    "less_than_equal": "is {input}, but may be at most {le}; lower it",
    "greater_than_equal": "is {input}, but must be at least {ge}; raise it",
    "too_long": "has {actual_length} items, but may have at most {max_length}; remove some",
    "string_too_long": "has more than {max_length} characters; shorten it",
    "string_too_short": "must not be empty; set it",
    "string_pattern_mismatch": "is {input}, but must match {pattern}; correct it",
}


def _problems(detail: ErrorDetails) -> Iterator[Problem]:
    path = _path(detail["loc"])
    context = detail.get("ctx", {})
    if detail["type"] == BROKEN:
        yield from (Problem((path + relative).lstrip("."), message) for relative, message in context["found"])
        return
    template = _REMEDIES.get(detail["type"], "is {input}, which is not of the right type; see docs/reference.md")
    yield Problem(path, template.format_map({**context, "input": brief(detail["input"])}))


def _path(location: tuple[int | str, ...]) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return "".join(parts).removeprefix(".")


def brief(value: Any, limit: int = 60) -> str:
    """`value` as a message repeats it, in at most `limit` characters."""
    text = json.dumps(value, default=str)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def _is_label(name: str) -> bool:
    return re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name) is not None
