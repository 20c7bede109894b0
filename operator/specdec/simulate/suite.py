"""Several workloads, policies and seeds -> rows; the entry point behind `specdec simulate`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from multiprocessing import get_context
from typing import Any, Final

import numpy as np

from specdec.simulate import kept, rows, run, world
from specdec.simulate.arrivals import RATE_STEP_SECONDS
from specdec.simulate.rows import Row
from specdec.simulate.workloads import HOUR, Workload
from specdec.tuning import CostTable, Prior, cost_table, estimated_prior

BORROWED: Final = "borrowed-costs.json"
DERIVED: Final = ("best-constant", "card")
Part = tuple[Workload, int]  # a workload and a seed


class SuiteError(ValueError):
    """A selection that cannot be run; the message names the remedy."""


@dataclass(frozen=True, slots=True)
class Suite:
    """What to run. prior: the costs that the tuner starts from; None for the packaged ones of another GPU."""

    workloads: tuple[Workload, ...]
    policies: tuple[str, ...]
    seeds: tuple[int, ...]
    costs: CostTable
    profiles: Mapping[str, tuple[float, ...]]
    prior: CostTable | None = None


def borrowed_costs() -> CostTable:
    """The packaged table of another GPU, an estimate: the default prior."""
    text = files("specdec.simulate").joinpath("tables", BORROWED).read_text("utf-8")
    document: dict[str, Any] = json.loads(text)
    return cost_table(document, BORROWED)


def check_policies(names: Iterable[str], max_k: int) -> tuple[str, ...]:
    """`names` in the order of POLICIES, 'all' meaning every one that costs of `max_k` rows allow.

    Raises SuiteError for one that is unknown or that they do not allow.
    """
    wanted = list(names) or ["all"]
    unknown = [name for name in wanted if name not in {*run.POLICIES, "all"}]
    if unknown:
        raise SuiteError(f"no policy '{unknown[0]}'; the policies are {', '.join(run.POLICIES)}, or all")
    beyond = run.CONSTANTS[max_k + 1 :]
    _within_costs(wanted, max_k)
    return tuple(name for name in run.POLICIES if name in wanted or ("all" in wanted and name not in beyond))


def _within_costs(names: Sequence[str], max_k: int) -> None:
    beyond = [name for name in run.CONSTANTS[max_k + 1 :] if name in names]
    if beyond:
        raise SuiteError(
            f"policy {beyond[0]}: the cost table ends at K = {max_k}; name one up to constant-{max_k}, or give --costs "
            "a table with more rows"
        )


def check(suite: Suite) -> None:
    """Refuse, before the first part, what would fail in any. Raises SuiteError or WorkloadError."""
    most = len(run.CONSTANTS) - 1
    if suite.costs.max_k > most:
        raise SuiteError(f"the cost table has {suite.costs.max_k} rows in draft.ms_by_k; keep at most the first {most}")
    _within_costs(suite.policies, suite.costs.max_k)
    for workload in suite.workloads:
        world.build(workload, suite.costs, suite.profiles)
        _some_load(workload)


def _some_load(workload: Workload) -> None:
    """Where arrivals are drawn."""
    edges = np.linspace(0.0, workload.seconds, max(int(workload.seconds / RATE_STEP_SECONDS), 1) + 1)
    if workload.load_at((edges[1:] + edges[:-1]) / 2).max() <= 0:
        raise SuiteError(
            f"workload {workload.name}: its load is zero in all of the {workload.seconds / HOUR:g} h that are run; "
            "raise it, or run more of it with --hours"
        )


def execute(
    suite: Suite,
    progress: Callable[[str, float], None] | None = None,
    jobs: int = 1,
    finished: kept.Kept | None = None,
) -> list[Row]:
    """All rows, by workload, policy and seed. `jobs` parts, each a workload and a seed, run at once.

    finished: where parts are kept as they end, also those that end after another has failed; those that it holds
    already are not run again. Raises SuiteError or WorkloadError, before the first part, for what cannot be run.
    """
    check(suite)
    rows_of = dict(finished.parts) if finished is not None else {}
    parts = [(w, seed) for seed in suite.seeds for w in sorted(suite.workloads, key=lambda w: -w.seconds)]
    todo = [part for part in parts if _key(suite, *part) not in rows_of]
    for (workload, seed), found in _run(suite, todo, progress, jobs):
        rows_of[_key(suite, workload, seed)] = found
        if finished is not None:
            finished.add(_key(suite, workload, seed), found)
    order = {name: i for i, name in enumerate(suite.policies)}
    return [
        row
        for workload in suite.workloads
        for row in sorted(
            (row for seed in suite.seeds for row in rows_of[_key(suite, workload, seed)]),
            key=lambda row: order[row.policy],
        )
    ]


def _key(suite: Suite, workload: Workload, seed: int) -> str:
    """Of all that the rows of one workload and seed depend on."""
    inputs = [asdict(suite.costs), dict(suite.profiles), asdict(suite.prior) if suite.prior else None]
    return kept.digest([kept.code(), asdict(workload), seed, suite.policies, inputs])


def _run(
    suite: Suite, parts: Sequence[Part], progress: Callable[[str, float], None] | None, jobs: int
) -> Iterator[tuple[Part, list[Row]]]:
    """The parts with their rows, as they end."""
    if jobs <= 1 or len(parts) <= 1:
        for part in parts:
            yield part, one(suite, *part, progress)
        return
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
    try:
        running = {pool.submit(one, suite, *part): part for part in parts}
        for future in _ended(running):
            (workload, seed), found = running[future], future.result()
            if progress is not None:
                progress(f"{workload.name} {seed}", 1.0)
            yield (workload, seed), found
    finally:
        pool.shutdown(cancel_futures=True)


def _ended(running: Iterable[Future[list[Row]]]) -> Iterator[Future[list[Row]]]:
    """Those with a result, as they end. The first that failed comes last, when all that had begun are through."""
    failed: list[Future[list[Row]]] = []
    pending = set(running)
    while pending:
        done, pending = wait(pending, return_when=FIRST_COMPLETED)
        for future in done:
            if future.exception() is None:
                yield future
            else:
                failed.append(future)
        if failed:
            pending = {future for future in pending if not future.cancel()}
    yield from failed[:1]


def one(suite: Suite, workload: Workload, seed: int, progress: Callable[[str, float], None] | None = None) -> list[Row]:
    """The rows of one workload and seed. They do not depend on which others are run."""
    truth = world.build(workload, suite.costs, suite.profiles)
    names = needed(suite.policies, truth.max_k)
    prior = estimated_prior()
    costs = suite.costs if workload.prior_is_truth else (suite.prior or borrowed_costs())
    outcome = run.Run(truth, names, (seed,), Prior(costs, prior.acceptance, prior.acceptance_drafts)).go(
        None if progress is None else lambda share: progress(f"{workload.name} {seed}", share)
    )
    return [row for row in rows.rows(workload, outcome, f"constant-{truth.max_k}") if row.policy in suite.policies]


def needed(wanted: Sequence[str], max_k: int) -> tuple[str, ...]:
    """The policies to simulate for rows of `wanted`: the oracle and every constant stand beside each."""
    always = ["oracle", *(f"constant-{k}" for k in range(max_k + 1))]
    return tuple(always + [n for n in wanted if n not in {*always, *DERIVED}])


def shortened(workload: Workload, hours: float) -> Workload:
    """The first `hours` of a workload; of one that drifts, those around the drift."""
    seconds, drift = min(workload.seconds, hours * HOUR), workload.drift_at_hours
    if drift is None:
        return replace(workload, seconds=seconds)
    begin = min(max(drift - seconds / HOUR / 2, 0.0), (workload.seconds - seconds) / HOUR)
    return replace(
        workload,
        seconds=seconds,
        load=tuple((hour - begin, load) for hour, load in workload.load),
        mix=tuple((hour - begin, shares) for hour, shares in workload.mix),
        drift_at_hours=drift - begin,
    )
