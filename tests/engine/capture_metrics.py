"""Record /metrics of real vLLM after known traffic: `make capture-metrics` writes into build/metrics-pages.

For the pages in tests/contract/pages, which parser and simulator are held against; copy what a new release changed.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.engine import environment
from tests.engine.load import load
from tests.engine.overlays import next_release
from tests.engine.servers import HIGH_ACCEPTANCE, Server, ServerSpec, Zygote, dflash, until

FOLDER: Final = environment.ROOT / "build" / "metrics-pages"


def capture(server: Server, name: str, changes: tuple[int, ...]) -> None:
    """One page: twelve requests at each K of `changes`, then silence."""
    for k in changes or (None,):
        if k is not None:
            server.set_k(k)
        with load(server, concurrency=4) as outcome:
            until(lambda: outcome.completed >= 12, 120, "12 requests")
    until(lambda: server.running() == 0, 30, "a quiet engine")
    version = server.http.get("/version").json()["version"].partition("+")[0]
    path = FOLDER / f"vllm-{version}-{name}.txt"
    path.write_text(server.http.get("/metrics").text)
    print(path)


def main() -> int:
    installed = environment.installed()
    models = environment.models(installed)
    FOLDER.mkdir(parents=True, exist_ok=True)
    specs: dict[str, tuple[ServerSpec, tuple[int, ...]]] = {
        "no-speculation": (ServerSpec(models / "tiny", None), ()),
        "dflash-exact-counters-live-k": (
            ServerSpec(models / "tiny", dflash(models / "tiny.dflash", rates=HIGH_ACCEPTANCE)),
            (7, 3, 1, 0),
        ),
    }
    for each in (installed, next_release(installed)):
        with tempfile.TemporaryDirectory() as folder, Zygote(each, Path(folder)) as zygote:
            for name, (spec, changes) in specs.items():
                with zygote.serve(spec, name) as server:
                    capture(server, name, changes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
