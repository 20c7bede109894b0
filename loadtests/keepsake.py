"""What was in force before a sweep, on disk until it is in force again: a sweep that was killed puts back the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from loadtests.records import read_json, write_json


class Keepsake:
    """file: None keeps it in memory alone."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._kept: dict[str, Any] = read_json(file) if file is not None and file.exists() else {}

    def take(self, name: str, read: Callable[[], Any]) -> Any:
        """What was kept under `name`, else what `read` says now, which is kept. JSON values."""
        if name not in self._kept:
            self._kept[name] = read()
            self._write()
        return self._kept[name]

    def drop(self, name: str) -> None:
        """It is in force again."""
        if self._kept.pop(name, None) is not None:
            self._write()

    def _write(self) -> None:
        if self._file is None:
            return
        if self._kept:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._file, self._kept)
        else:
            self._file.unlink(missing_ok=True)
