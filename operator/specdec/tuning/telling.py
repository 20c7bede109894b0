"""An explanation as data and as text: what was seen, what is believed, what each K would yield, what held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from specdec.tuning.decisions import Decision, Gain, Hold, Move
from specdec.tuning.summary import Summary
from specdec.tuning.switchback import in_words

BAR: Final = 24  # characters of the best K's goodput
SPREAD: Final = 2.0  # how much longer a bar is, in shares, than in proportion: differences are what is looked for
MOVES: Final = 5


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
class Evidence:
    """pods: remembered. newest_seconds: age of the newest page. recent_drafts: of the last minutes. steps: by now."""

    pods: int
    newest_seconds: float | None
    recent_drafts: float
    steps: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Samples, estimates, candidates and the answer that follows from them.

    shares: (batch, share of the recent request time) of each batch bucket in use.
    guards: what objects to acting now. lengths: (K, mean tokens per step, its 90 % interval). at: since the epoch.
    """

    summary: Summary
    answer: Decision | Hold
    shares: tuple[tuple[int, float], ...]
    candidates: tuple[Candidate, ...]
    guards: tuple[Hold, ...]
    evidence: Evidence
    lengths: tuple[tuple[int, float, float, float], ...]
    at: float

    def lines(self, *, live: bool = True) -> list[str]:
        """Plain text, one thought a line; the first line is what a condition's message says.

        live: False leaves out what would be done now, for a state that comes from a checkpoint.
        """
        return _lines(self, live=live)


def _lines(told: Explanation, *, live: bool) -> list[str]:
    out = _answer(told) if live else []
    out += _samples(told) + _estimates(told)
    for batch, share in told.shares:
        rows = [row for row in told.candidates if row.batch == batch]
        out.append(f"batch {batch} ({100 * share:.0f} % of the request time); tokens per second of one replica:")
        out += [_candidate(row, max(r.tokens_per_second for r in rows)) for row in rows]
    pairs = told.summary.pairs
    return out + _moves(told.summary.moves, told.at) + ([f"switchback: {in_words(pairs)}"] if pairs is not None else [])


def _answer(told: Explanation) -> list[str]:
    answer = told.answer
    kind = answer.kind.value if isinstance(answer, Decision) else "Hold"
    first = f"{kind}: {answer.reason.value}: {answer.message}"
    held = [f"guard {hold.reason.value}: {hold.message}" for hold in told.guards]
    return [first, *(held or ["no guard objects"])]


def _samples(told: Explanation) -> list[str]:
    seen, summary = told.evidence, told.summary
    how = "exact counters" if summary.exact_counters else "vLLM's own counters"
    age = "" if seen.newest_seconds is None else f", the newest page {seen.newest_seconds:.0f} s old"
    drafts = f"{summary.drafts:.0f} drafts seen, {seen.recent_drafts:.0f} of them of late"
    return [f"samples: {seen.pods} pods, {how}{age}; {drafts}; {seen.steps:.0f} steps remembered"]


def _estimates(told: Explanation) -> list[str]:
    rates = " ".join(f"{p:.2f}" for p in told.summary.acceptance)
    lengths = ", ".join(f"K={k} {mean:.2f} [{low:.2f}, {high:.2f}]" for k, mean, low, high in told.lengths)
    return [
        f"acceptance per position (cumulative): {rates}",
        f"tokens per step, with 90 % interval: {lengths}",
        f"confidence in the step costs in use: {100 * told.summary.confidence:.0f} %",
    ]


def _candidate(row: Candidate, best: float) -> str:
    marks = ("in force " if row.in_force else "") + ("" if row.allowed else "not allowed ")
    known = "measured" if row.measured else "inferred"
    share = max(1.0 - SPREAD * (1.0 - row.tokens_per_second / best), 0.0)
    bar = ("█" * round(BAR * share)).ljust(BAR)
    cost = f"{row.tokens_per_second:7.0f}  step {row.step_ms:6.2f} ms  {row.tpot_ms:6.2f} ms per token"
    return f"  K={row.k} {bar} {cost}  {_interval(row.gain):>22}  {known} {marks}".rstrip()


def _moves(moves: Sequence[Move], now: float) -> list[str]:
    out = []
    for move in moves[-MOVES:]:
        came = "" if move.realised is None else f", brought {_interval(move.realised)}"
        ago = f"{(now - move.at) / 60:.0f} min ago"
        out.append(f"{ago}: {move.reason.value}, promised {_interval(move.predicted)}{came}: {move.verdict.value}")
    return ["last moves:", *(f"  {line}" for line in out)] if out else ["no move was made yet"]


def _interval(gain: Gain) -> str:
    return f"{gain.mean_percent:+.1f} % [{gain.lower_percent:+.1f}, {gain.upper_percent:+.1f}]"
