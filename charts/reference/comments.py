"""Reads a chart's values.yaml as a tree of settings, each with the comment that stands above it.

# ==== Title          starts a section
# What it does.       documents the next key
# schema: {...}       adds JSON Schema to what its default value says
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

SECTION: Final = "# ==== "
SCHEMA: Final = "# schema: "


class CommentError(ValueError):
    """values.yaml breaks the rules of this module; the text names the line and the remedy."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of values.yaml.

    path: its keys from the root, `("image", "tag")`.
    default: its value, plain YAML data.
    text: its documentation, one line; empty where none stands.
    hint: JSON Schema beyond what the default says.
    section: title of its section.
    line: where it stands, from 1.
    children: settings inside of it; empty for a leaf, and for a mapping that is documented as a whole.
    """

    path: tuple[str, ...]
    default: Any
    text: str
    hint: dict[str, Any]
    section: str
    line: int
    children: tuple[Setting, ...]

    @property
    def name(self) -> str:
        return ".".join(self.path)

    def leaves(self) -> Iterator[Setting]:
        """The settings that a user changes: this one, or those inside of it."""
        if not self.children:
            yield self
        for child in self.children:
            yield from child.leaves()


def read(source: str) -> tuple[Setting, ...]:
    """The top-level settings of a values.yaml.

    Raises CommentError for a setting without documentation and for a comment that cannot be read.
    """
    root = yaml.compose(source, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise CommentError("values.yaml must be a mapping")
    settings = tuple(_settings(root, (), source.splitlines()))
    for leaf in (leaf for setting in settings for leaf in setting.leaves()):
        if not leaf.text:
            raise CommentError(f"line {leaf.line}: {leaf.name} has no documentation; write a comment above it")
    return settings


def _settings(node: yaml.MappingNode, parent: tuple[str, ...], lines: list[str]) -> Iterator[Setting]:
    for key, value in node.value:
        line = key.start_mark.line
        text, hint = _comment_above(lines, line)
        path = (*parent, str(key.value))
        children = tuple(_settings(value, path, lines)) if isinstance(value, yaml.MappingNode) else ()
        yield Setting(
            path=path,
            default=yaml.SafeLoader("").construct_document(value),
            text=text,
            hint=hint,
            section=_section(lines, line),
            line=line + 1,
            children=() if _documented_as_a_whole(text, children) else children,
        )


def _documented_as_a_whole(text: str, children: tuple[Setting, ...]) -> bool:
    return bool(text) and not any(leaf.text for child in children for leaf in child.leaves())


def _comment_above(lines: list[str], line: int) -> tuple[str, dict[str, Any]]:
    first = line
    while first > 0 and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    words: list[str] = []
    hint: dict[str, Any] = {}
    for number, comment in enumerate((text.strip() for text in lines[first:line]), first + 1):
        if comment.startswith(SCHEMA):
            hint |= _hint(comment.removeprefix(SCHEMA), number)
        elif not comment.startswith(SECTION):
            words.append(comment.removeprefix("#").strip())
    return " ".join(filter(None, words)), hint


def _hint(text: str, line: int) -> dict[str, Any]:
    try:
        hint = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise CommentError(f"line {line}: the schema cannot be read: {error}") from error
    if not isinstance(hint, dict):
        raise CommentError(f"line {line}: a schema is a mapping, `# schema: {{minimum: 1}}` for instance")
    return hint


def _section(lines: list[str], line: int) -> str:
    above = (text.removeprefix(SECTION) for text in reversed(lines[:line]) if text.startswith(SECTION))
    return next(above, "Settings").strip()
