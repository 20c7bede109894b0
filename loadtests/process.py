"""A generator process as its starter sees it: told by standard input, heard on standard output."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from loadtests.generator.job import DONE, GO, PROGRESS, READY, Job, Progress

READY_SECONDS: Final = 120.0
WORKERS_READY_SECONDS: Final = 330.0
STOP_SECONDS: Final = 10.0


class GeneratorError(RuntimeError):
    """A generator process that died or fell silent; the message holds its last words."""


class Generator:
    """Started on entry, gone on exit, whatever happened."""

    def __init__(self, job: Job, folder: Path) -> None:
        self.target = job.target
        self._job = job
        self._folder = folder
        self._heard: queue.SimpleQueue[dict[str, object]] = queue.SimpleQueue()
        self._done = False

    def __enter__(self) -> Self:
        file = self._folder / f".job-{self.target}.json"
        self._job.write(file)
        self._log = (self._folder / f"generator-{self.target}.log").open("w+")
        role = "master" if self._job.expect_workers else "alone"
        # own session: Ctrl-C reaches the starter alone, which then ends its generators in good order
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "loadtests.generator", role, str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
        )
        threading.Thread(target=self._listen, daemon=True, name=f"generator-{self.target}").start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._log.close()
        (self._folder / f".job-{self.target}.json").unlink(missing_ok=True)

    def await_ready(self) -> None:
        """Returns once the process could start at once. Raises GeneratorError."""
        limit = WORKERS_READY_SECONDS if self._job.expect_workers else READY_SECONDS
        try:
            word = self._heard.get(timeout=limit)
        except queue.Empty:
            raise GeneratorError(f"the generator for {self.target} is not ready after {limit:g} s") from None
        if word["kind"] != READY:
            raise GeneratorError(f"the generator for {self.target} ended at its start:\n{self._last_words()}")

    def go(self, start: float) -> None:
        """Second 0 is at this Unix time."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{GO} {start!r}\n")
        self._process.stdin.flush()

    def news(self) -> Iterator[Progress]:
        """What it reported since the last call."""
        while not self._heard.empty():
            word = self._heard.get()
            kind = word.pop("kind")
            if kind == PROGRESS:
                yield Progress(**word)  # type: ignore[arg-type]
            elif kind == DONE:
                self._done = True
            elif kind == "end" and not self._done:
                raise GeneratorError(f"the generator for {self.target} died:\n{self._last_words()}")

    def finished(self) -> bool:
        return self._done

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                try:
                    self._heard.put(json.loads(line))
                except ValueError:
                    continue  # something else printed; the log of the process is on its standard error
        self._heard.put({"kind": "end"})

    def _last_words(self) -> str:
        self._process.wait(STOP_SECONDS)
        self._log.seek(0)
        return self._log.read()[-2000:]
