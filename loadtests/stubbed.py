"""The stub server as a child process: `with StubProcess("--ttft-ms", "50") as stub: ... stub.url`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from types import TracebackType
from typing import Any, Final, Self

STOP_SECONDS: Final = 5.0


class StubProcess:
    """Listens on entry, is gone on exit. options: as of `python -m loadtests.stub`."""

    def __init__(self, *options: str) -> None:
        self._options = options
        self.url = ""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "loadtests.stub", *self._options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().split()[-1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def kill(self) -> None:
        """As a crash would."""
        self._process.kill()

    def stamps(self) -> list[dict[str, Any]]:
        """When it really wrote, per request."""
        with urllib.request.urlopen(f"{self.url}/stamps", timeout=10) as answer:  # noqa: S310 - our own stub
            found: list[dict[str, Any]] = json.load(answer)
        return found
