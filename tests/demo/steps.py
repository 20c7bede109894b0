"""Long steps with a name, a clock and a log: the user sees what happens, and on failure where to read on."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape

TAIL_LINES: Final = 25
SHOWN_COLUMNS: Final = 150


class DemoError(Exception):
    """A step failed; the text says which, and which log to read."""


@dataclass(slots=True)
class Steps:
    """Runs steps one after the other; `took` remembers the seconds of each."""

    console: Console
    logs: Path
    took: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Announce `title`, and the time it took when it is over."""
        began = time.monotonic()
        self.console.print(f"[bold cyan]==>[/] {title}")
        yield
        self.took[title] = time.monotonic() - began
        self.console.print(f"    [green]done[/] in {self.took[title]:.0f} s")

    def command(self, title: str, argv: Sequence[str | Path], env: Mapping[str, str] | None = None) -> str:
        """Run `argv` as a step, its output on the screen and in a log. Returns the output. Raises DemoError."""
        log = self.logs / (title.lower().replace(" ", "-") + ".log")
        with self.step(title), log.open("w") as sink:
            words = [str(word) for word in argv]
            lines = []
            with subprocess.Popen(
                words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **(env or {})}
            ) as process:
                for line in process.stdout or ():
                    sink.write(line)
                    lines.append(line.rstrip("\n"))
                    self.console.print(f"    [dim]{escape(line.rstrip()[:SHOWN_COLUMNS])}[/]", highlight=False)
            if process.returncode != 0:
                tail = "\n".join(lines[-TAIL_LINES:])
                raise DemoError(f"{' '.join(words)} ended with {process.returncode}.\n{tail}\nThe whole log: {log}")
        return "\n".join(lines)
