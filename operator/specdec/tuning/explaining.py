"""Why the tuner does what it does, as data that a terminal, a condition's message or a plot can show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from specdec.tuning import candidates
from specdec.tuning.decisions import Decision, Gain, Hold
from specdec.tuning.limits import Limits
from specdec.tuning.recommending import recommend
from specdec.tuning.samples import BATCH_BUCKET_ENDS
from specdec.tuning.state import State
from specdec.tuning.summary import Summary, summarise

LEAST_STEPS: Final = 20.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """One K at one batch size. tpot_ms: predicted time per output token; gain: over the K in force there."""

    batch: int
    k: int
    step_ms: float
    accepted_length: float
    tpot_ms: float
    tokens_per_second: float
    gain: Gain
    allowed: bool
    in_force: bool
    measured: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """Samples, estimates, candidates and the answer that follows from them.

    shares: (batch, share of the recent request time) of each batch bucket in use.
    """

    summary: Summary
    answer: Decision | Hold
    shares: tuple[tuple[int, float], ...]
    candidates: tuple[Candidate, ...]

    def lines(self) -> list[str]:
        """Plain text, one thought a line; the first line is what a condition's message says."""
        return _lines(self)


def explain(state: State, limits: Limits, now: float) -> Explanation:
    """What `recommend` would answer now, and all that it rests on."""
    seen = candidates.outlook(state)
    size = seen.log_tpot.shape[1]
    shares = _shares(state, size)
    inside = candidates.allowed(limits, state.start_k, state.grid)
    table = candidates.table_of(state.in_force, size)
    rows = tuple(
        _candidate(state, seen, (batch, k), int(table[batch - 1]), allowed=bool(inside[k, batch - 1]))
        for batch, _ in shares
        for k in range(1, state.start_k + 1)
    )
    return Explanation(summarise(state, limits), recommend(state, limits, now, 0.5), shares, rows)


def _shares(state: State, size: int) -> tuple[tuple[int, float], ...]:
    # a state that comes from a checkpoint remembers the day, not the last minutes
    load = state.load if state.load[:, 0].sum() > 0 else state.day_load
    total = load[:, 0].sum()
    used = np.flatnonzero(load[:, 0] > 0.01 * total) if total > 0 else np.zeros(0, dtype=int)
    batches = [int(np.clip(round(load[b, 1] / load[b, 0]), 1, size)) for b in used]
    return tuple((batch, float(load[b, 0] / total)) for batch, b in zip(batches, used, strict=True))


def _candidate(state: State, seen: candidates.Outlook, at: tuple[int, int], now_k: int, *, allowed: bool) -> Candidate:
    batch, k = at
    row = batch - 1
    difference = float(seen.log_tpot[now_k, row] - seen.log_tpot[k, row])
    sd = float(seen.contrast_sd(np.array([now_k]), np.array([k]), np.array([batch]))[0])
    interval = [100.0 * float(np.expm1(difference + z * sd)) for z in (0, -1.645, 1.645)]
    tpot = float(np.exp(seen.log_tpot[k, row]))
    return Candidate(
        batch=batch,
        k=k,
        step_ms=float(np.exp(seen.log_ms[k, row])),
        accepted_length=float(np.exp(seen.acceptance.log_length[k])),
        tpot_ms=tpot,
        tokens_per_second=1000.0 * batch / tpot,
        gain=Gain(*interval),
        allowed=allowed,
        in_force=k == now_k,
        measured=bool(state.tried_steps[k, np.searchsorted(BATCH_BUCKET_ENDS, batch)] > LEAST_STEPS),
    )


def _lines(explanation: Explanation) -> list[str]:
    summary, answer = explanation.summary, explanation.answer
    kind = answer.kind.value if isinstance(answer, Decision) else "Hold"
    lines = [f"{kind}: {answer.reason.value}: {answer.message}"]
    rates = " ".join(f"{p:.2f}" for p in summary.acceptance)
    lines.append(f"acceptance per position (cumulative): {rates}; {summary.drafts:.0f} drafts seen")
    lines.append(f"confidence in the step costs in use: {100 * summary.confidence:.0f} %")
    for batch, share in explanation.shares:
        lines.append(f"batch {batch} ({100 * share:.0f} % of the request time)")
        lines += [_line(row) for row in explanation.candidates if row.batch == batch]
    return lines


def _line(row: Candidate) -> str:
    marks = ("in force " if row.in_force else "") + ("" if row.allowed else "not allowed ")
    gain = f"{row.gain.mean_percent:+6.1f} % [{row.gain.lower_percent:+.1f}, {row.gain.upper_percent:+.1f}]"
    known = "measured" if row.measured else "inferred"
    return f"  K={row.k}  step {row.step_ms:7.2f} ms  {row.tpot_ms:7.2f} ms per token  {gain}  {known} {marks}".rstrip()
