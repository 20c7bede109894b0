"""Several workloads, policies and seeds -> rows; the entry point behind `specdec simulate`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from importlib.resources import files
from multiprocessing import get_context
from typing import Any, Final

from specdec.simulate import rows, run, world
from specdec.simulate.rows import Row
from specdec.simulate.workloads import Workload
from specdec.tuning import CostTable, Prior, cost_table, estimated_prior

BORROWED: Final = "borrowed-costs.json"
DERIVED: Final = ("best-constant", "card")


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


def check_policies(names: Iterable[str]) -> tuple[str, ...]:
    """`names` in the order of POLICIES, 'all' meaning every one. Raises SuiteError for an unknown one."""
    wanted = list(names) or ["all"]
    unknown = [name for name in wanted if name not in {*run.POLICIES, "all"}]
    if unknown:
        raise SuiteError(f"no policy '{unknown[0]}'; the policies are {', '.join(run.POLICIES)}, or all")
    return tuple(name for name in run.POLICIES if "all" in wanted or name in wanted)


def execute(suite: Suite, progress: Callable[[str, float], None] | None = None, jobs: int = 1) -> list[Row]:
    """All rows, by workload, policy and seed. `jobs` workloads run at once, the seeds of one together."""
    found: list[Row] = []
    if jobs <= 1 or len(suite.workloads) == 1:
        for workload in suite.workloads:
            found += one(suite, workload, progress)
        return found
    by_name: dict[str, list[Row]] = {}
    longest_first = sorted(suite.workloads, key=lambda w: -w.seconds)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(one, suite, workload): workload for workload in longest_first}
        for future in as_completed(running):
            by_name[running[future].name] = future.result()
            if progress is not None:
                progress(running[future].name, 1.0)
    for workload in suite.workloads:
        found += by_name[workload.name]
    return found


def one(suite: Suite, workload: Workload, progress: Callable[[str, float], None] | None = None) -> list[Row]:
    """The rows of one workload."""
    truth = world.build(workload, suite.costs, suite.profiles)
    names = needed(suite.policies, truth.max_k)
    prior = estimated_prior()
    costs = suite.costs if workload.prior_is_truth else (suite.prior or borrowed_costs())
    outcome = run.Run(truth, names, suite.seeds, Prior(costs, prior.acceptance, prior.acceptance_drafts)).go(
        None if progress is None else lambda share: progress(workload.name, share)
    )
    order = {name: i for i, name in enumerate(suite.policies)}
    kept = [row for row in rows.rows(workload, outcome, f"constant-{truth.max_k}") if row.policy in order]
    return sorted(kept, key=lambda row: (order[row.policy], row.seed))


def needed(wanted: Sequence[str], max_k: int) -> tuple[str, ...]:
    """The policies to simulate for rows of `wanted`: the oracle and every constant stand beside each."""
    always = ["oracle", *(f"constant-{k}" for k in range(max_k + 1))]
    too_large = [n for n in run.CONSTANTS if n not in always]
    return tuple(always + [n for n in wanted if n not in {*always, *DERIVED, *too_large}])


def shortened(workload: Workload, hours: float) -> Workload:
    """The first `hours` of a workload."""
    return replace(workload, seconds=min(workload.seconds, hours * 3600.0))
