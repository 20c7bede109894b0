"""Sends the plan to both twins and keeps the live view going until the last answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.live import Live

from loadtests import run as loadtest
from loadtests.plan import Plan
from loadtests.records import Target
from specdec_simulator import acceptance
from tests.demo.chaos import Chaos
from tests.demo.scene import Scene
from tests.demo.text import Text
from tests.demo.watch import Watch
from tests.support.reach import reach

LOOK_SECONDS: Final = 2.0
PLAIN_SECONDS: Final = 15.0


def drive(scene: Scene, plan: Plan, folder: Path, chaos: Chaos, console: Console) -> Watch:
    """Run `plan` against both twins at once; the files of a run are in `folder` afterwards. Returns what was seen."""
    watch = Watch(scene.kubectl, scene.engine.twins, folder)
    with ExitStack() as stack:
        targets = [_target(stack, scene, name) for name in scene.engine.twins]
        told = [] if scene.engine.simulated else [target.url for target in targets]
        text = Text(plan, acceptance.load(), told)
        began = threading.Event()
        start: list[float] = []

        def on_start(at: float) -> None:
            start.append(at)
            began.set()

        stack.enter_context(_viewing(plan, watch, (chaos.act, text.follow), console, began, start))
        loadtest.run(plan, targets, folder, loadtest.Options(baseline=scene.engine.untuned), on_start=on_start)
    return watch


def _target(stack: ExitStack, scene: Scene, name: str) -> Target:
    url = stack.enter_context(reach(scene.kubectl, name))
    return Target(name, url, (f"{url}/metrics",))


@contextmanager
def _viewing(
    plan: Plan,
    watch: Watch,
    acts: Sequence[Callable[[float], None]],
    console: Console,
    began: threading.Event,
    start: list[float],
) -> Iterator[None]:
    """A thread that looks, acts and draws while the block runs. acts: told how many seconds into the run it is."""
    over = threading.Event()

    def view() -> None:
        began.wait()
        with Live(console=console, auto_refresh=False, transient=False) as live:
            last_plain = 0.0
            while not over.wait(LOOK_SECONDS):
                t = time.time() - start[0]
                watch.look(t)
                for act in acts:
                    act(t)
                table = watch.table(_title(plan, t), t)
                if console.is_terminal:
                    live.update(table, refresh=True)
                elif t - last_plain > PLAIN_SECONDS:
                    console.print(table)
                    last_plain = t

    thread = threading.Thread(target=view, name="live view", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        began.set()
        thread.join(LOOK_SECONDS * 5)


def _title(plan: Plan, t: float) -> str:
    index = plan.phase_at(t)
    phase = "last answers" if index is None else plan.phases[index].name
    return f"{t:4.0f} s of {plan.seconds:.0f} s: {phase}"
