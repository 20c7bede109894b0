"""The result file: `{"about": ..., "rows": [...]}`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from specdec import __version__
from specdec.simulate import kept
from specdec.simulate.rows import Row
from specdec.simulate.run import ADVANCE_SECONDS
from specdec.simulate.suite import Suite


def write(path: Path, rows: Sequence[Row], suite: Suite, seconds: float) -> None:
    """Write `rows` and what they were made from."""
    document = {"about": about(suite, seconds), "rows": [row.document() for row in rows]}
    path.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", "utf-8")


def read(path: Path) -> tuple[dict[str, Any], list[Row]]:
    """What `write` wrote."""
    document = json.loads(path.read_text("utf-8"))
    return document["about"], [Row(**row) for row in document["rows"]]


def about(suite: Suite, seconds: float) -> dict[str, Any]:
    """What a reader needs to run it again."""
    return {
        "version": __version__,
        "code": kept.code(),
        "status": "SIMULATED on estimated step times and acceptance, not measured on GPUs",
        "seeds": list(suite.seeds),
        "advance_seconds": ADVANCE_SECONDS,
        "wall_seconds": round(seconds, 1),
        "workloads": {
            w.name: {
                "what": w.what,
                "hours": w.seconds / 3600.0,
                "replicas": w.replicas,
                "scrape_seconds": w.scrape.interval,
            }
            for w in suite.workloads
        },
    }
