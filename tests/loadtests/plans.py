"""Short plans, written where a test wants them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

SMALL: dict[str, Any] = {
    "style": "chat",
    "domain": "chat",
    "prompt": {"median": 20},
    "output": {"median": 24, "spread": 0.2},
}


def write_plan(folder: Path, *phases: dict[str, Any], **fields: Any) -> Path:
    """A YAML file with `phases`; the scenario `chat` is short."""
    content = {"name": "a test", "drainSeconds": 5, "scenarios": {"chat": SMALL}, "phases": list(phases), **fields}
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump(content))
    return path
