"""`specdec calibrate`: measure an engine's step times over K and batch size, and write the cost table of its hardware.

The engine must have our plugin and no other traffic. Its acceptance does not matter: step times hardly depend on it.
The schedule that is in force is put back at the end. A busy engine, such as one that compiles a kernel, is waited for,
up to two minutes at a time. `specdec simulate --costs FILE` reads the table.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from specdec.cli.failure import Failure

if TYPE_CHECKING:
    from specdec.engine.calibration import Calibrated, CalibrationPlan
    from specdec.engine.speculation import Speculation
    from specdec.engine.target import Target
    from specdec.tuning.cost_fit import FittedCosts

LADDER: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
TOKEN_VARIABLE: Final = "SPECDEC_CONTROL_TOKEN"  # noqa: S105 - a name, not a token


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("calibrate", help="measure the step times of an engine", description=__doc__)
    parser.add_argument("--engine", required=True, metavar="URL", help="the engine's own URL, not a Service's")
    parser.add_argument("--model", required=True, metavar="NAME", help="the name under which it serves its model")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="where the cost table goes (JSON)")
    parser.add_argument("--minutes", type=float, default=10.0, help="for all of it (default: %(default)s)")
    parser.add_argument("--k", metavar="K,K,...", help="default: 0 to the engine's start value")
    parser.add_argument(
        "--max-tokens", type=int, default=2048, metavar="TOKENS",
        help="of a request, at most half of what the engine takes (default: %(default)s); sets how long contexts get",
    )  # fmt: skip
    parser.add_argument("--batches", metavar="B,B,...", help="default: 1, 2, 4, ... up to what the engine takes")
    parser.add_argument(
        "--control-token-file", type=Path, metavar="FILE", help=f"else the variable {TOKEN_VARIABLE} is read"
    )
    parser.add_argument("--api-key-env", metavar="VARIABLE", help="environment variable that holds the API key")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from specdec.engine.calibration import CalibrationError
    from specdec.engine.errors import EngineError
    from specdec.tuning.cost_fit import FitError, fit

    try:
        seen, plan, found = asyncio.run(_measure(arguments))
        fitted = fit(found.measured, seen.start_num_speculative_tokens)
    except (CalibrationError, EngineError, FitError) as error:
        raise Failure(str(error)) from error
    _write(arguments.out, document(seen, plan, fitted, found))
    print(f"{arguments.out}: {len(found.measured)} measurements, median error of the fit {fitted.median_error:.1%}")
    if found.missing:
        print(f"{_missing(found)} Give it more --minutes, or more --max-tokens where the engine takes longer requests.")
    return 0


async def _measure(arguments: argparse.Namespace) -> tuple[Speculation, CalibrationPlan, Calibrated]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from specdec.engine.calibration import Calibration, longest_sequence
    from specdec.engine.live import LiveClient
    from specdec.engine.patience import Patience
    from specdec.engine.scrape import Scraper

    # Flushed: what the wait is for must not come when it is over.
    target, patience = _target(arguments), Patience(functools.partial(print, flush=True))
    columns = (TextColumn("measuring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    async with LiveClient() as live, Scraper() as scraper:
        seen = await patience.answer(lambda: live.get(target))
        plan = _plan(arguments, seen, await longest_sequence(target, arguments.model))
        with Progress(*columns, transient=True) as bar:
            task = bar.add_task("", total=plan.cells)
            calibration = Calibration(
                target, arguments.model, plan,
                live=live, scraper=scraper, patience=patience, progress=lambda: bar.advance(task),
            )  # fmt: skip
            if (await calibration.sample()).stock.running_requests:
                raise Failure("the engine serves other traffic; calibrate one that gets none, such as a pod of its own")
            return seen, plan, await calibration.run(seen)


def _target(arguments: argparse.Namespace) -> Target:
    from specdec.engine.target import Target

    file: Path | None = arguments.control_token_file
    try:
        token = file.read_text().strip() if file else os.environ.get(TOKEN_VARIABLE)
    except OSError as error:
        raise Failure(f"{file} cannot be read: {error.strerror}") from error
    if not token:
        raise Failure(f"no control token: give --control-token-file, or set {TOKEN_VARIABLE}")
    api_key = os.environ.get(arguments.api_key_env) if arguments.api_key_env else None
    return Target(arguments.engine, "", arguments.engine.rstrip("/"), control_token=token, api_key=api_key)


def _plan(arguments: argparse.Namespace, seen: Speculation, longest: int | None) -> CalibrationPlan:
    from specdec.engine.calibration import CalibrationPlan

    for name in ("LiveSwitching", "ExactCounters"):
        capability = seen.capability(name)
        if capability is None or not capability.status:
            why = capability.message if capability is not None else "it does not have our plugin"
            raise Failure(f"the engine cannot be calibrated, {name} is missing: {why}")
    limit = seen.limits
    ks = _numbers(arguments.k, 0, limit.max_num_speculative_tokens, "--k") or tuple(
        range(limit.max_num_speculative_tokens + 1)
    )
    batches = _numbers(arguments.batches, 1, limit.max_batch, "--batches") or tuple(
        batch for batch in LADDER if batch <= limit.max_batch
    )
    if arguments.max_tokens < 1:
        raise Failure("--max-tokens takes a whole number of 1 or more")
    # The other half is for the prompt, a few dozen tokens.
    max_tokens = min(arguments.max_tokens, longest // 2) if longest else arguments.max_tokens
    return CalibrationPlan(ks, batches, arguments.minutes * 60, max_tokens)


def _numbers(text: str | None, low: int, high: int, option: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(word) for word in text.split(",")) if text else ()
    except ValueError:
        numbers = (high + 1,)
    if any(not low <= number <= high for number in numbers):
        raise Failure(f"{option} takes whole numbers from {low} to {high} for this engine, separated by commas")
    return numbers


def document(seen: Speculation, plan: CalibrationPlan, fitted: FittedCosts, found: Calibrated) -> dict[str, Any]:
    """The table with where it comes from; `measured` keeps what the fit was made of."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return {
        "what": f"Decode step of {seen.engine.name} {seen.engine.version}, method {seen.method}.",
        "status": f"MEASURED at {at} on one running engine, started with K = {seen.start_num_speculative_tokens}; "
        f"median error of the fit {fitted.median_error:.1%}. Engines started with a smaller K were not measured: the "
        f"draft rows are those of this engine. Contexts: a short prompt and up to {plan.max_tokens} tokens after it. "
        + (_missing(found) or "Nothing is missing."),
        "unit": "milliseconds",
        "verify": fitted.verify,
        "draft": fitted.draft,
        "measured": [
            {"k": m.k, "batch": round(m.batch, 2), "step_ms": round(m.step_ms, 3), "steps": m.steps}
            for m in found.measured
        ],
    }


def _missing(found: Calibrated) -> str:
    """What was not measured, "" where all was."""
    if not found.missing:
        return ""
    ks = sorted({k for k, _ in found.missing})
    cells = (f"K = {k} at {', '.join(str(batch) for of, batch in found.missing if of == k)}" for k in ks)
    return f"Not measured, too few steps without a prefill: {'; '.join(cells)} requests."


def _write(path: Path, content: dict[str, Any]) -> None:
    from specdec.tuning import cost_table

    cost_table(content, str(path))
    try:
        path.write_text(json.dumps(content, indent=1) + "\n")
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror}") from error
