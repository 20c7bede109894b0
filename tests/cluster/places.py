"""Where the test cluster keeps its files, and its error.

ClusterError
+-- ToolError      a program could not be built            (tools)
+-- ProcessError   a process died or did not get ready     (processes)
+-- ImageError     an image could not be built or loaded   (images)
"""

import os
import sys
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[2]


class ClusterError(Exception):
    """Something about the test cluster failed; the text names the remedy or the log to read."""


def cache_dir() -> Path:
    """The folder for everything that is costly to make and keyed by its content; never inside the checkout."""
    if own := os.environ.get("SPECDEC_CACHE"):
        return Path(own).expanduser().resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser().resolve() / "specdec"


def state_dir(cluster: str) -> Path:
    """The folder of one running cluster: sockets, certificates, logs, data. `CLUSTER_STATE` moves all of them."""
    root = os.environ.get("CLUSTER_STATE")
    return (Path(root).expanduser().resolve() if root else cache_dir() / "clusters") / cluster


def say(text: str) -> None:
    """One line of progress, on stderr: stdout belongs to answers that scripts read."""
    print(text, file=sys.stderr, flush=True)
