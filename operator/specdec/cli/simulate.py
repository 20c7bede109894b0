"""`specdec simulate`: replay workloads under many policies, ours among them, and say what each would have cost.

Step costs, acceptance profiles and workloads come from files, or from the packaged estimates. The tuner under test is
the one that runs in the operator; it sees what a scrape of the engines would show.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from specdec.cli.failure import Failure

if TYPE_CHECKING:
    from specdec.simulate.suite import Suite

EXAMPLE = """examples:
  specdec simulate --workload steady --policy specdec-live --policy constant-7 --seeds 1,2,3
  specdec simulate --costs my-gpu.json --profiles my-traffic.json --workload my-day.json --json out.json --plot out.png
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "simulate",
        help="compare policies for K on simulated fleets",
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--costs", metavar="FILE", help="true step times (default: the packaged H200 estimate)")
    parser.add_argument("--profiles", metavar="FILE", help="acceptance per position by profile (default: packaged)")
    parser.add_argument(
        "--prior", metavar="FILE", help="step times that the tuner starts from (default: another GPU's)"
    )
    parser.add_argument("--workload", metavar="NAME|FILE", action="append", help="repeatable; default: all")
    parser.add_argument("--policy", metavar="NAME", action="append", help="repeatable; default: all")
    parser.add_argument("--seeds", default="1,2,3", help="comma-separated whole numbers (default: %(default)s)")
    parser.add_argument(
        "--hours",
        metavar="[NAME=]H",
        action="append",
        default=[],
        help="only the first H hours of each workload, or of NAME (those around its drift, if it has one); repeatable",
    )
    parser.add_argument("--jobs", type=int, default=1, help="parts simulated at once (default: %(default)s)")
    parser.add_argument(
        "--json",
        metavar="FILE",
        help="write the rows to FILE; FILE.partial keeps what is finished, so that a run that was cut off goes on",
    )
    parser.add_argument("--plot", metavar="FILE", help="write a picture (PNG or SVG) to FILE")
    parser.add_argument("--quiet", action="store_true", help="no progress, no table")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    # one thread per process: the arrays are small, and more threads only spin
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    from specdec.simulate import kept, plot, results, table
    from specdec.simulate.suite import SuiteError, execute
    from specdec.simulate.workloads import WorkloadError
    from specdec.tuning import PriorError

    for target in filter(None, (arguments.json, arguments.plot)):
        _writable(Path(target))
    try:
        suite = _suite(arguments)
        if arguments.plot is not None:
            plot.check(suite.policies, Path(arguments.plot))
        began = time.monotonic()
        finished = kept.Kept(kept.beside(Path(arguments.json))) if arguments.json is not None else None
        rows = execute(suite, None if arguments.quiet else Progress(), arguments.jobs, finished)
    except (PriorError, WorkloadError, SuiteError, kept.KeptError, plot.PlotError) as error:
        raise Failure(str(error)) from error
    if finished is not None:
        results.write(Path(arguments.json), rows, suite, time.monotonic() - began)
        finished.clear()
    if not arguments.quiet:
        print(table.render(rows))
    if arguments.plot is not None:
        plot.draw(rows, Path(arguments.plot))
    return 0


def _writable(path: Path) -> None:
    """Refuse, before hours of simulation, a file that could not be written after them."""
    folder = path.resolve().parent
    if not folder.is_dir():
        raise Failure(f"{path}: its folder does not exist; create it first")
    if path.is_dir():
        raise Failure(f"{path} is a folder; name a file in it")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise Failure(f"{path} cannot be written; allow it, or name a file elsewhere")


def _suite(arguments: argparse.Namespace) -> Suite:
    from specdec.simulate import suite, workloads
    from specdec.tuning import acceptance_profiles, cost_table, estimated_costs
    from specdec.tuning.prior import ESTIMATED_PROFILES, packaged

    costs = cost_table(_document(arguments.costs), arguments.costs) if arguments.costs else estimated_costs()
    profiles = _document(arguments.profiles) if arguments.profiles else packaged(ESTIMATED_PROFILES)
    chosen = [workloads.find(name) for name in arguments.workload or workloads.NAMES]
    names = [workload.name for workload in chosen]
    spans = _spans(arguments.hours, names)
    chosen = [suite.shortened(w, spans[w.name]) if w.name in spans else w for w in chosen]
    if len(set(names)) != len(names):
        raise Failure("two workloads have the same name; give each file a 'name' of its own")
    return suite.Suite(
        tuple(chosen),
        suite.check_policies(arguments.policy or [], costs.max_k),
        _seeds(arguments.seeds),
        costs,
        acceptance_profiles(profiles, arguments.profiles or ESTIMATED_PROFILES),
        cost_table(_document(arguments.prior), arguments.prior) if arguments.prior else None,
    )


def _document(path: str) -> dict[str, Any]:
    import json

    try:
        document = json.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise Failure(f"{path} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise Failure(f"{path}: expected a JSON object")
    return document


def _spans(options: list[str], names: list[str]) -> dict[str, float]:
    """Hours by workload; an option without a name is for all that no other names."""
    spans: dict[str, float] = {}
    for option in sorted(options, key=lambda option: "=" in option):
        name, _, text = option.rpartition("=")
        if name and name not in names:
            raise Failure(f"--hours {option}: no workload '{name}' is run; they are {', '.join(names)}")
        try:
            hours = float(text)
        except ValueError as error:
            raise Failure(f"--hours takes a number or NAME=NUMBER, not '{option}'") from error
        if not hours > 0:
            raise Failure("--hours must be above zero")
        spans |= dict.fromkeys([name] if name else names, hours)
    return spans


def _seeds(text: str) -> tuple[int, ...]:
    try:
        seeds = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise Failure(f"--seeds takes whole numbers, as in 1,2,3; not '{text}'") from error
    if not seeds or min(seeds) < 0 or len(set(seeds)) != len(seeds):
        raise Failure("--seeds takes distinct whole numbers of zero or more, as in 1,2,3")
    return seeds


class Progress:
    """One line on stderr that is written over, or a line per tenth where stderr is no terminal."""

    def __init__(self) -> None:
        self.began, self.shown = time.monotonic(), ("", -1)

    def __call__(self, workload: str, share: float) -> None:
        step = (workload, int(share * 10))
        if step == self.shown:
            return
        self.shown = step
        end = "\r" if sys.stderr.isatty() and share < 1 else "\n"
        passed = time.monotonic() - self.began
        print(f"  {workload:15} {100 * share:3.0f} %  {passed:6.0f} s", end=end, file=sys.stderr, flush=True)
