"""Daemons that outlive the command which starts them: a ledger of pids, birth times and logs in the state folder."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.cluster.places import ClusterError, say

POLL_SECONDS: Final = 0.1
# Joins the cgroups named by $1 (a colon-separated list of cgroup.procs files), then becomes the rest of its arguments.
_JOIN: Final = 'cd /; IFS=:; for f in $1; do echo $$ > "$f"; done; unset IFS; shift; exec "$@"'


class ProcessError(ClusterError):
    """A daemon died, or something was not ready in time."""


@dataclass(frozen=True, slots=True)
class Daemon:
    """A started process. `birth` (clock ticks since boot) tells it from a later process with the same pid."""

    pid: int
    birth: str

    def alive(self) -> bool:
        """False for a zombie too: it may take its parent seconds to collect it."""
        fields = _stat(self.pid)
        return fields is not None and fields[0] != "Z" and fields[19] == self.birth

    def memory_mib(self) -> float:
        """Resident memory; 0 for a process that is gone."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return 0.0
        rows = (line.split() for line in status.splitlines() if line.startswith("VmRSS"))
        return next((int(row[1]) / 1024 for row in rows), 0.0)


class Ledger:
    """The daemons of one cluster, noted in `<state>/daemons.json`."""

    def __init__(self, state: Path, join: Sequence[Path] = ()) -> None:
        self._file = state / "daemons.json"
        self._state = state
        self._join = ":".join(str(folder / "cgroup.procs") for folder in join)

    def log(self, name: str) -> Path:
        return self._state / "logs" / f"{name}.log"

    def daemons(self) -> dict[str, Daemon]:
        if not self._file.exists():
            return {}
        return {name: Daemon(int(pid), birth) for name, (pid, birth) in json.loads(self._file.read_text()).items()}

    def start(self, name: str, *command: str | Path) -> Daemon:
        """Start `command` detached, in the ledger's cgroups, with its output in the log of that name."""
        self.log(name).parent.mkdir(parents=True, exist_ok=True)
        argv = ["/bin/sh", "-c", _JOIN, "join", self._join, *map(str, command)]
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self._state)}
        output = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        files = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(self.log(name)), output, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
            *((os.POSIX_SPAWN_CLOSE, number) for number in _inherited()),
        ]
        # not Popen: that wants its child to end before the object does
        pid = os.posix_spawn("/bin/sh", argv, environment, file_actions=files, setsid=True)
        fields = _stat(pid)
        if fields is None:
            raise ProcessError(f"{name} ended at once; read {self.log(name)}")
        daemon = Daemon(pid, fields[19])
        self._write({**self.daemons(), name: daemon})
        return daemon

    def stop(self, name: str, how: signal.Signals = signal.SIGTERM, limit: float = 10.0) -> None:
        """End one daemon, by force after `limit` seconds; one that is unknown or gone is fine."""
        known = self.daemons()
        daemon = known.pop(name, None)
        if daemon is not None and daemon.alive():
            os.kill(daemon.pid, how)
            if not becomes(lambda: not daemon.alive(), limit):
                os.kill(daemon.pid, signal.SIGKILL)
                becomes(lambda: not daemon.alive(), limit)
        self._write(known)

    def dead(self) -> list[str]:
        """The daemons that should run and do not."""
        return [name for name, daemon in self.daemons().items() if not daemon.alive()]

    def wait(self, what: str, test: Callable[[], bool], limit: float = 60.0) -> None:
        """Return once `test` holds; raise as soon as a daemon died, or after `limit` seconds."""

        def settled() -> bool:
            if gone := self.dead():
                raise ProcessError(f"{gone[0]} died while waiting for {what}; read {self.log(gone[0])}")
            return test()

        began = time.monotonic()
        if not becomes(settled, limit):
            raise ProcessError(f"{what}: not within {limit:.0f} s; read the logs in {self._state / 'logs'}")
        say(f"  {what} ({time.monotonic() - began:.1f} s)")

    def _write(self, daemons: dict[str, Daemon]) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps({name: (daemon.pid, daemon.birth) for name, daemon in daemons.items()}, indent=1))
        fresh.replace(self._file)


def becomes(test: Callable[[], bool], limit: float) -> bool:
    """Whether `test` comes true within `limit` seconds."""
    end = time.monotonic() + limit
    while not test():
        if time.monotonic() > end:
            return False
        time.sleep(POLL_SECONDS)
    return True


def run(*command: str | Path, stdin: str | None = None, limit: float = 120.0, check: bool = True) -> str:
    """The output of a command; a failure raises ClusterError with what it said."""
    argv = [str(part) for part in command]
    try:
        done = subprocess.run(argv, input=stdin, check=False, capture_output=True, text=True, timeout=limit)
    except FileNotFoundError:
        raise ClusterError(f"{argv[0]} is not installed; `python -m tests.cluster.packages` installs it") from None
    except subprocess.TimeoutExpired:
        raise ClusterError(f"{' '.join(argv)} took longer than {limit:.0f} s") from None
    if check and done.returncode != 0:
        raise ClusterError(f"{' '.join(argv)} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on, or None when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None


def _inherited() -> list[int]:
    """Open files beyond the standard ones that a child would get: locks and pipes of our caller, held for its life."""
    found = []
    for number in map(int, os.listdir("/proc/self/fd")):
        try:
            if number > 2 and os.get_inheritable(number):
                found.append(number)
        except OSError:  # the folder itself, which is closed by now
            continue
    return found
