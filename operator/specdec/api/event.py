"""An event to tell users about, before it becomes an object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Event:
    """reason: CamelCase, from `conditions`. message: a sentence, for a Warning with the remedy."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str
