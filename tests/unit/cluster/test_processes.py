"""Daemons that outlive the command which starts them."""

from __future__ import annotations

import os
from pathlib import Path

from tests.cluster.processes import Ledger


def test_a_daemon_holds_no_file_of_who_starts_it(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_inheritable(writing, True)
    ledger = Ledger(tmp_path)
    daemon = ledger.start("idle", "sleep", "600")
    try:
        os.close(writing)
        assert os.read(reading, 1) == b"", "the other end is closed while the daemon runs"
        assert daemon.alive()
    finally:
        os.close(reading)
        ledger.stop("idle")
