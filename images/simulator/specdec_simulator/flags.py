"""The flags of `vllm serve` 0.33 that change nothing in a simulation: known, so accepted; all others are refused."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Final

FILE: Final = Path(__file__).parent / "data" / "vllm-serve-flags.json"


def add_without_effect(parser: argparse.ArgumentParser) -> None:
    """Add every flag of the file that `parser` does not have yet."""
    known = json.loads(FILE.read_text())
    have = set(parser._option_string_actions)
    for kind, names in known["flags"].items():
        for name in names:
            options = [option for option in name.split() if option not in have]
            if options:
                parser.add_argument(*options, **_keywords(kind))
    for name, choices in known["choices"].items():
        for option in name.split():
            if option in parser._option_string_actions:
                parser._option_string_actions[option].choices = choices


def _keywords(kind: str) -> dict[str, Any]:
    keywords: dict[str, dict[str, Any]] = {
        "switch": {"action": "store_true"},
        "value": {},
        "integer": {"type": int},
        "number": {"type": float},
        "optional value": {"nargs": "?"},
        "list": {"nargs": "+"},
        "json": {"type": json.loads},
    }
    return keywords[kind]
