"""The resources in `examples/`, as a user applies them: with a registry in the place of the placeholder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from specdec.api import names
from specdec.api.resource import SpeculativeDeployment, parse

EXAMPLES: Final = Path(__file__).parents[2] / "examples"
FILES: Final = sorted(path for path in EXAMPLES.glob("*.yaml") if f"kind: {names.KIND}" in path.read_text())


def filled(path: Path) -> str:
    """The text of an example, as `sed "s|REGISTRY|...|"` of the quick start leaves it."""
    return path.read_text().replace("image: REGISTRY/", "image: registry.example.com/")


def bodies(path: Path) -> Iterator[dict[str, Any]]:
    """Each resource of an example as the API server would store it."""
    for body in yaml.safe_load_all(filled(path)):
        body["metadata"] |= {"uid": "0f9a-uid", "namespace": "default"}
        yield body


def resources(path: Path) -> list[SpeculativeDeployment]:
    """The same, parsed."""
    parsed = [parse(body) for body in bodies(path)]
    assert all(isinstance(each, SpeculativeDeployment) for each in parsed), parsed
    return [each for each in parsed if isinstance(each, SpeculativeDeployment)]
