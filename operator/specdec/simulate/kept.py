"""Finished parts of a run, kept beside its result file until that is written: a run that was cut off goes on from them.

One JSON object a line. A part is found again only by the same code, workload, span, seed, policies and input files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import specdec
from specdec.simulate.rows import Row

SUFFIX: Final = ".partial"
SOURCES: Final = ("simulate", "tuning", "api")


class KeptError(ValueError):
    """The file holds something else than finished parts."""


class Kept:
    """The parts in one file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.parts = _read(path)

    def add(self, key: str, rows: Sequence[Row]) -> None:
        """Keep the rows of a finished part."""
        self.parts[key] = list(rows)
        with self.path.open("a", encoding="utf-8") as file:
            part = {"part": key, "rows": [row.document() for row in rows]}
            file.write(json.dumps(part, allow_nan=False) + "\n")

    def clear(self) -> None:
        """The result file is written; nothing is left to go on from."""
        self.path.unlink(missing_ok=True)


def beside(path: Path) -> Path:
    """Where the parts of the run that will write `path` are kept."""
    return path.with_name(path.name + SUFFIX)


@lru_cache(maxsize=1)
def code() -> str:
    """Digest of everything in the package that can move a figure."""
    root = Path(specdec.__file__).parent
    found = sorted(p for name in SOURCES for p in (root / name).rglob("*") if p.suffix in {".py", ".json"})
    return digest([[p.relative_to(root).as_posix(), p.read_text("utf-8")] for p in found])


def digest(value: Any) -> str:
    """Of anything that JSON can hold."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def _read(path: Path) -> dict[str, list[Row]]:
    """The whole lines of the file; a last one that was cut off is dropped from it. Raises KeptError for any other."""
    text = path.read_text("utf-8") if path.is_file() else ""
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, "utf-8")
    try:
        documents = [json.loads(line) for line in whole.splitlines()]
        return {document["part"]: [Row(**row) for row in document["rows"]] for document in documents}
    except (ValueError, KeyError, TypeError) as error:
        raise KeptError(f"{path} holds no finished parts ({error}); remove it to begin anew") from error
