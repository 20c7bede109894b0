"""What is believed before the first sample: a step cost table, acceptance per position, and for which environment."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from specdec.tuning.limits import DEFAULT_START_K

Floats = NDArray[np.float64]

ESTIMATED_COSTS: Final = "h200-step-times.json"
ESTIMATED_PROFILES: Final = "acceptance-profiles.json"
HAZARD_DECAY: Final = 0.96  # from position to position, where only the first is known


class PriorError(ValueError):
    """A cost table or profile that cannot be used; the message names the field and the remedy."""


@dataclass(frozen=True, slots=True)
class CostTable:
    """Milliseconds of one decode step on one GPU type and layout.

    verify_tokens, verify_ms: shape (knots,), linear between, last slope beyond unless it falls.
    draft_batch: shape (batches,). draft_ms: shape (K_max, batches), the draft pass when a full block is drafted and
    the verification is truncated to K = row + 1. draft_ms_by_start: the same shape, the engine started at K = row + 1.
    """

    verify_tokens: tuple[float, ...]
    verify_ms: tuple[float, ...]
    draft_batch: tuple[float, ...]
    draft_ms: tuple[tuple[float, ...], ...]
    draft_ms_by_start: tuple[tuple[float, ...], ...]

    @property
    def max_k(self) -> int:
        return len(self.draft_ms)

    @property
    def digest(self) -> str:
        """Equal for equal tables, across processes."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:12]

    def step_ms(self, k: int, batch: Floats, *, start_k: int | None = None) -> Floats:
        """Step time at `batch` requests in an engine started with `start_k` (default: the largest K of the table).

        K = 0 drafts nothing. An engine started lower drafts a shorter block, whatever it verifies.
        """
        verify = along(batch * (k + 1), self.verify_tokens, self.verify_ms)
        if k == 0:
            return verify
        start = self.max_k if start_k is None else min(start_k, self.max_k)
        row = min(k, start) - 1
        draft = along(batch, self.draft_batch, self.draft_ms[row])
        if start == self.max_k:
            return verify + draft
        shorter = along(batch, self.draft_batch, self.draft_ms_by_start[start - 1])
        return verify + draft + shorter - along(batch, self.draft_batch, self.draft_ms[start - 1])


def along(x: Floats, knots: Sequence[float], values: Sequence[float]) -> Floats:
    """Linear between `knots`, with the last slope beyond them; one that falls would end below zero and is level."""
    y = np.interp(x, knots, values)
    if len(knots) < 2:
        return y
    slope = max((values[-1] - values[-2]) / (knots[-1] - knots[-2]), 0.0)
    return np.where(x > knots[-1], values[-1] + slope * (x - knots[-1]), y)


@dataclass(frozen=True, slots=True)
class Prior:
    """Where learning starts.

    acceptance: probability that the first i + 1 drafted tokens are all accepted, shape (positions,), non-increasing.
    acceptance_drafts: effective drafts that this belief is worth.
    """

    costs: CostTable
    acceptance: tuple[float, ...]
    acceptance_drafts: float = 30.0


@dataclass(frozen=True, slots=True)
class Environment:
    """What must be equal for two resources to share what was learned. Pods of one resource share one environment."""

    model: str = ""
    drafter: str = ""
    gpu: str = ""
    layout: str = ""
    image: str = ""
    start_k: int = DEFAULT_START_K
    max_num_seqs: int = 256

    @property
    def key(self) -> str:
        """One line that names the environment; equal keys may share a prior."""
        return "|".join((self.model, self.drafter, self.gpu, self.layout, self.image, str(self.start_k)))


def cost_table(document: Mapping[str, Any], source: str = "cost table") -> CostTable:
    """Read the shape of the packaged `h200-step-times.json`.

    Raises PriorError naming the field. `draft.ms_full_block` is a list with one row per K under any name, or has a key
    per K as `draft.ms_by_k` has; it may be absent: `draft.ms_by_k` then stands for both.
    """
    verify, draft = _mapping(document, "verify", source), _mapping(document, "draft", source)
    tokens, ms = _numbers(verify, "tokens", source), _numbers(verify, "ms", source)
    batch = _numbers(draft, "batch", source)
    _ascending(tokens, f"{source}: verify.tokens")
    _ascending(batch, f"{source}: draft.batch")
    if len(tokens) != len(ms):
        raise PriorError(f"{source}: verify.tokens has {len(tokens)} entries, verify.ms {len(ms)}; they must pair up")
    by_start = _rows_by_k(_mapping(draft, "ms_by_k", source), len(batch), source)
    full = _full_block(draft.get("ms_full_block"), by_start, len(batch), source)
    return CostTable(tokens, ms, batch, full, by_start)


def acceptance_profiles(document: Mapping[str, Any], source: str = "profiles") -> dict[str, tuple[float, ...]]:
    """Read the shape of the packaged `acceptance-profiles.json`: name -> cumulative acceptance per position."""
    profiles = _mapping(document, "profiles", source)
    return {name: _profile(rates, f"{source}: profiles.{name}") for name, rates in profiles.items()}


def estimated_costs() -> CostTable:
    """The packaged H200 figures. They are estimates, not measurements (see the file's `status`)."""
    return cost_table(packaged(ESTIMATED_COSTS), ESTIMATED_COSTS)


def estimated_prior() -> Prior:
    """Packaged H200 costs, and the model card's first position with hazards that fall from there.

    The card's further positions can be read in two ways; traffic of other targets falls by a few percent a position,
    which lies between the two.
    """
    first = acceptance_profiles(packaged(ESTIMATED_PROFILES), ESTIMATED_PROFILES)["card-mid"][0]
    hazards = first * HAZARD_DECAY ** np.arange(DEFAULT_START_K)
    return Prior(estimated_costs(), tuple(float(p) for p in np.cumprod(hazards)))


def packaged(name: str) -> dict[str, Any]:
    """A JSON document of `specdec/tuning/data`."""
    document: dict[str, Any] = json.loads(files("specdec.tuning").joinpath("data", name).read_text("utf-8"))
    return document


def _mapping(document: Mapping[str, Any], field: str, source: str) -> Mapping[str, Any]:
    value = document.get(field)
    if not isinstance(value, Mapping):
        raise PriorError(f"{source}: '{field}' is missing or not an object; see the packaged {ESTIMATED_COSTS}")
    return value


def _numbers(document: Mapping[str, Any], field: str, source: str) -> tuple[float, ...]:
    return _positive(document.get(field), f"{source}: {field}")


def _positive(values: Any, where: str) -> tuple[float, ...]:
    if not isinstance(values, Sequence) or isinstance(values, str) or not values:
        raise PriorError(f"{where} must be a list of numbers")
    try:
        numbers = tuple(float(v) for v in values)
    except (TypeError, ValueError) as error:
        raise PriorError(f"{where} must be a list of numbers: {error}") from error
    if any(not math.isfinite(v) or v <= 0 for v in numbers):
        raise PriorError(f"{where} must hold finite numbers above zero")
    return numbers


def _ascending(values: Sequence[float], where: str) -> None:
    if any(b <= a for a, b in pairwise(values)):
        raise PriorError(f"{where} must ascend")


def _rows_by_k(rows: Mapping[str, Any], width: int, source: str) -> tuple[tuple[float, ...], ...]:
    if sorted(rows) != sorted(str(k) for k in range(1, len(rows) + 1)) or not rows:
        raise PriorError(f"{source}: draft.ms_by_k needs the keys '1', '2', ... without a gap")
    table = tuple(_positive(rows[str(k)], f"{source}: draft.ms_by_k.{k}") for k in range(1, len(rows) + 1))
    _widths(table, width, f"{source}: draft.ms_by_k")
    return table


def _full_block(
    value: Any, by_start: tuple[tuple[float, ...], ...], width: int, source: str
) -> tuple[tuple[float, ...], ...]:
    if value is None:
        return tuple(by_start[-1] for _ in by_start)
    rows = _block_rows(value, len(by_start))
    where = f"{source}: draft.ms_full_block"
    if not isinstance(rows, Sequence) or len(rows) != len(by_start):
        raise PriorError(f"{where} needs one row per K, {len(by_start)} in all, as draft.ms_by_k has")
    table = tuple(_positive(row, where) for row in rows)
    _widths(table, width, where)
    return table


def _block_rows(value: Any, count: int) -> Any:
    """One row per K, from a list of them, an object that gives such a list a name, or an object of rows by K."""
    if not isinstance(value, Mapping):
        return value
    first = next(iter(value.values()), None)
    if isinstance(first, Sequence) and first and isinstance(first[0], Sequence):
        return first
    keys = [str(k) for k in range(1, count + 1)]
    return [value[key] for key in keys] if set(value) == set(keys) else None


def _widths(table: tuple[tuple[float, ...], ...], width: int, where: str) -> None:
    if any(len(row) != width for row in table):
        raise PriorError(f"{where}: each row needs {width} entries, one per draft.batch")


def _profile(rates: Any, where: str) -> tuple[float, ...]:
    if not isinstance(rates, Sequence) or isinstance(rates, str) or not rates:
        raise PriorError(f"{where} must be a list of probabilities")
    try:
        numbers = tuple(float(rate) for rate in rates)
    except (TypeError, ValueError) as error:
        raise PriorError(f"{where} must be a list of probabilities: {error}") from error
    if any(not 0 <= rate <= 1 for rate in numbers):
        raise PriorError(f"{where}: probabilities lie between 0 and 1")
    if any(b > a for a, b in pairwise(numbers)):
        raise PriorError(f"{where} must not increase: entry i is the probability that all tokens up to i are accepted")
    return numbers
