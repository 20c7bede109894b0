"""What an operator's process does not load, because each of its replicas would pay for it in memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

OPERATOR = Path(__file__).resolve().parents[3] / "operator"
LISTED = "import specdec.controllers.process, sys; print(*sorted(sys.modules))"


def test_neither_the_synchronous_nor_the_dynamic_client_is_loaded() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LISTED], env={"PYTHONPATH": str(OPERATOR)}, check=True, capture_output=True, text=True
    )
    loaded = set(done.stdout.split())
    assert "kubernetes.aio.client" in loaded
    synchronous = [name for name in loaded if name.startswith("kubernetes.") and not name.startswith("kubernetes.aio")]
    assert len(synchronous) < 10, "kopf looks at a few of its modules"
    assert not {"kubernetes.dynamic", "kubernetes.config", "kubernetes.aio.dynamic", "urllib3"} & loaded
