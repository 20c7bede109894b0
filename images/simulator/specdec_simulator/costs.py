"""How long an engine step takes, from a table of step times (`data/step-times-h200-estimate.json` by default).

All figures of the shipped table are estimates for DeepSeek-V4-Flash with the DFlash drafter, TP4 on H200.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

DEFAULT_COSTS: Final = Path(__file__).parent / "data" / "step-times-h200-estimate.json"
DEFAULT_CLIFF_MS: Final = 80.0


class CostTableError(ValueError):
    """The file holds no table of step times."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Piecewise linear; the first value before the first knot, the last slope beyond the last."""

    knots: tuple[float, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.knots) < 2 or len(self.knots) != len(self.values):
            raise CostTableError("a curve needs two or more knots and one value for each")
        if any(b <= a for a, b in pairwise(self.knots)):
            raise CostTableError("the knots of a curve must ascend")

    def at(self, x: float) -> float:
        if x <= self.knots[0]:
            return self.values[0]
        right = min(bisect_right(self.knots, x), len(self.knots) - 1)
        x0, x1 = self.knots[right - 1], self.knots[right]
        y0, y1 = self.values[right - 1], self.values[right]
        return y0 + (y1 - y0) * (x - x0) / (x1 - x0)


@dataclass(frozen=True, slots=True)
class CostTable:
    """verify: tokens in the step -> ms. by_start: K that the engine started with -> (batch -> ms of the draft pass).
    truncated: live K below a start of 7 -> the same, the whole block still being drafted.
    cliff_ms: added when the step outgrows the captured CUDA graphs.
    """

    verify: Curve
    by_start: Mapping[int, Curve]
    truncated: Mapping[int, Curve]
    cliff_ms: float = DEFAULT_CLIFF_MS

    def draft_ms(self, start_k: int, k: int, batch: int) -> float:
        """Time of the draft pass; 0 when the step drafts nothing."""
        if k == 0:
            return 0.0
        full_block = start_k == max(self.by_start) and k in self.truncated
        return (self.truncated[k] if full_block else self.by_start[start_k]).at(batch)


@dataclass(slots=True)
class StepCosts:
    """Step times of one engine.

    capture_tokens: the largest step that has a CUDA graph, None when none is captured. scale: 2.0 makes every step last
    twice as long.
    """

    table: CostTable
    start_k: int
    capture_tokens: int | None
    scale: float = 1.0

    def seconds(self, *, decodes: int, prefills: int, k: int, prefill_tokens: int) -> float:
        """Wall time of a step that verifies K drafts for each of `decodes` requests and computes `prefill_tokens`."""
        batch = decodes + prefills
        ms = self.table.verify.at(decodes * (k + 1) + prefill_tokens)
        if self.start_k:
            ms += self.table.draft_ms(self.start_k, k, batch)
        if self.capture_tokens is not None and batch * (k + 1) > self.capture_tokens:
            ms += self.table.cliff_ms
        return ms * self.scale / 1000


def load(path: Path = DEFAULT_COSTS) -> CostTable:
    """Read a table; raises CostTableError when the file is not one."""
    try:
        return _table(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CostTableError(f"{path}: {error}; see data/step-times-h200-estimate.json for the form") from error


def _table(content: Any) -> CostTable:
    draft = content["draft"]
    batches = draft["batch"]
    (rows,) = draft["ms_full_block"].values()
    return CostTable(
        verify=_curve(content["verify"]["tokens"], content["verify"]["ms"]),
        by_start={int(k): _curve(batches, ms) for k, ms in draft["ms_by_k"].items()},
        truncated={k: _curve(batches, ms) for k, ms in enumerate(rows, start=1)},
        cliff_ms=float(content.get("cliff_ms", DEFAULT_CLIFF_MS)),
    )


def _curve(knots: Sequence[float], values: Sequence[float]) -> Curve:
    return Curve(tuple(map(float, knots)), tuple(map(float, values)))
