"""`specdec loadtest` as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Final

LIMIT_SECONDS: Final = 200.0


def loadtest(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "specdec.cli.main", "loadtest", *arguments]
    variables = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False, env=variables)
