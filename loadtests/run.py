"""Drive targets through a plan: one generator process each, the same requests at the same moments.

result = run(load_plan(path), [Target("auto", url), Target("off", other)], folder)
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TypeAlias

from loadtests.generator.job import Job, Progress
from loadtests.plan import Plan
from loadtests.preflight import Access, TargetError, base_url, served_model
from loadtests.process import Generator, GeneratorError
from loadtests.records import RunFolderError, RunInfo, Target, requests_file, write_run
from loadtests.resource import Resource
from loadtests.sampling import Sampler
from loadtests.sequence import open_loop
from loadtests.watching import Watching

OnProgress: TypeAlias = Callable[[str, Progress], None]


class EnoughSeen(Exception):
    """Raised by an `on_progress` to end the run early, as Ctrl-C would."""


LEAD_SECONDS: Final = 0.5
WORKERS_LEAD_SECONDS: Final = 4.0
POLL_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Options:
    """How to run a plan.

    api_key_env: environment variable that holds the API key. salt: see `Plan.vllm_extensions`; random when None.
    wait_ready_seconds: how long to wait for targets that do not listen yet.
    expect_workers: above 0 this process leads that many workers, which connect to `bind_port` (one target only).
    sample_seconds: how often the engines' metrics pages are read, for targets that have any.
    resources: by target, the SpeculativeDeployment behind it, whose changes become events of the run.
    """

    api_key_env: str | None = None
    ca_file: str | None = None
    insecure: bool = False
    baseline: str | None = None
    salt: str | None = None
    preflight: bool = True
    wait_ready_seconds: float = 0.0
    expect_workers: int = 0
    bind_port: int = 5557
    sample_seconds: float = 2.0
    resources: Mapping[str, Resource] = field(default_factory=dict)

    def access(self) -> Access:
        """Raises TargetError when the named variable is not set."""
        key = None
        if self.api_key_env:
            key = os.environ.get(self.api_key_env)
            if not key:
                raise TargetError(f"--api-key-env names {self.api_key_env}, but that variable is not set")
        return Access(key, self.ca_file, self.insecure)


def run(
    plan: Plan,
    targets: Sequence[Target],
    folder: Path,
    options: Options = Options(),
    *,
    on_progress: OnProgress | None = None,
    on_start: Callable[[float], None] | None = None,
) -> RunInfo:
    """Run `plan` against all targets at once and leave the files of `loadtests.records` in `folder`.

    Blocks until the end. on_progress: called about once a second per target. on_start: called with the Unix time of
    second 0. Ctrl-C ends the run early: what was recorded stays, `interrupted` says so.
    Raises PlanError and TargetError before any load, GeneratorError when a generator process died, RunFolderError
    for a folder that is used or cannot be made.
    """
    _check(targets, folder, options)
    open_loop(plan)  # a trace that cannot be read should not cost more than a moment
    model = _model(plan, targets, options)
    _make(folder)
    salt = options.salt or secrets.token_hex(8)
    with ExitStack() as stack:
        generators = [
            stack.enter_context(Generator(_job(plan, target, folder, options, model=model, salt=salt), folder))
            for target in targets
        ]
        for generator in generators:
            generator.await_ready()
        start = time.time() + (WORKERS_LEAD_SECONDS if options.expect_workers else LEAD_SECONDS)
        info = RunInfo(
            name=plan.name,
            started_at=start,
            targets=tuple(targets),
            plan=plan.model_dump(mode="json", by_alias=True, exclude_none=True),
            model=model,
            baseline=options.baseline,
        )
        write_run(folder, info)
        for generator in generators:
            generator.go(start)
        if on_start:
            on_start(start)
        stack.enter_context(Sampler(info, folder, options.sample_seconds))
        stack.enter_context(Watching(info, folder, options.resources))
        try:
            _follow(generators, on_progress)
        except (KeyboardInterrupt, EnoughSeen):
            info = replace(info, interrupted=True)
            write_run(folder, info)
    return info


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(
            f"cannot make the folder {folder}: {error.strerror or error}; name another with --out"
        ) from error


def _check(targets: Sequence[Target], folder: Path, options: Options) -> None:
    names = [target.name for target in targets]
    if not names or len(set(names)) != len(names):
        raise TargetError("give at least one --target NAME=URL, and a different NAME for each")
    if options.baseline is not None and options.baseline not in names:
        raise TargetError(f"--baseline {options.baseline!r} is none of the targets {', '.join(names)}")
    if options.expect_workers and len(targets) > 1:
        raise TargetError("distributed load drives one target; start one master per target")
    if strangers := sorted(set(options.resources) - set(names)):
        raise TargetError(f"--watch names {', '.join(strangers)}, which is no --target; there are {', '.join(names)}")
    if any(requests_file(folder, name).exists() for name in names):
        raise RunFolderError(f"{folder} already holds a run; name another folder with --out")


def _model(plan: Plan, targets: Sequence[Target], options: Options) -> str:
    access = options.access()
    if not options.preflight:
        if plan.model is None:
            raise TargetError("without preflight the plan must name the model")
        return plan.model
    found = {served_model(t.url, plan.model, access, options.wait_ready_seconds) for t in targets}
    if len(found) > 1:
        raise TargetError(f"the targets serve different models ({', '.join(sorted(found))}); name one in the plan")
    return found.pop()


def _job(plan: Plan, target: Target, folder: Path, options: Options, *, model: str, salt: str) -> Job:
    return Job(
        target=target.name,
        url=base_url(target.url),
        model=model,
        plan=plan.model_dump(mode="json", by_alias=True, exclude_none=True),
        folder=str(folder.resolve()),
        salt=salt,
        api_key_env=options.api_key_env,
        ca_file=options.ca_file,
        insecure=options.insecure,
        expect_workers=options.expect_workers,
        bind_port=options.bind_port,
    )


def _follow(generators: Sequence[Generator], on_progress: OnProgress | None) -> None:
    running = list(generators)
    while running:
        for generator in list(running):
            for progress in generator.news():
                if on_progress:
                    on_progress(generator.target, progress)
            if generator.finished():
                running.remove(generator)
        time.sleep(POLL_SECONDS)


__all__ = ["GeneratorError", "Options", "TargetError", "run"]
