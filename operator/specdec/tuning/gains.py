"""What one table gains over another where requests spend their time, and how much of that is in doubt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from specdec.tuning.candidates import Outlook, mean_batches
from specdec.tuning.decisions import TWO_SIDED_90, Gain

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TRAFFIC_SD: Final = 0.003  # what traffic may do to a gain between prediction and outcome, log units
NEARBY: Final = (1.0, 0.7, 1.4)  # batch sizes seen, and beside them, to which traffic may have moved by then
TRAFFIC_SHARE: Final = 0.25  # the same, as a share of the gain and of its scatter over batch sizes
UNSETTLED_SHARE: Final = 0.8
SELECTION: Final = 1.3  # a move is made because its estimate is high, so its error is larger than the estimate's


@dataclass(frozen=True, slots=True)
class Regime:
    """Another start value: log step time that it saves, shape (K + 1, B), and the share of that which is in doubt."""

    saved: Floats
    doubt: float


def gain(seen: Outlook, before: Ints, after: Ints, load: Floats, regime: Regime | None = None) -> Gain:
    """Predicted gain in percent, weighted by where requests spend their time, with its 90 % interval.

    load: shape (BUCKETS, 2), see State. regime: given when the move also changes the engine's start value.
    """
    mean, sd, shift = _contrast(seen, before, after, load, regime)
    width = TWO_SIDED_90 * float(np.hypot(SELECTION * sd, shift))
    return Gain.of_logs(mean, width)


def assurance(
    seen: Outlook, before: Ints, after: Ints, load: Floats, regime: Regime | None = None
) -> tuple[float, float]:
    """Mean gain and the standard deviation of its estimate, log units; what traffic may do later is left out."""
    mean, sd, _ = _contrast(seen, before, after, load, regime)
    return mean, max(sd, 1e-6)


def _contrast(
    seen: Outlook, before: Ints, after: Ints, load: Floats, regime: Regime | None
) -> tuple[float, float, float]:
    """Mean gain in log units, its standard deviation from the estimates, and from traffic that will differ.

    Doubts of different batch sizes are added up as if they were one: they share prior, level and acceptance.
    """
    used = np.flatnonzero(load[:, 0] > 0)
    if not used.size or (regime is None and (before == after).all()):
        return 0.0, 0.0, 0.0
    weight = load[used, 0] / load[used, 0].sum()
    batch = mean_batches(load[used], before.size)
    near = np.clip(np.rint(np.outer(NEARBY, batch)), 1, before.size).astype(np.int64) - 1
    old, new = before[near], after[near]
    around = seen.log_tpot[old, near] - seen.log_tpot[new, near]
    each_sd = seen.contrast_sd(old[0], new[0], batch)
    if regime is not None:
        saved = regime.saved[new, near]
        around, each_sd = around + saved, each_sd + regime.doubt * np.abs(saved[0])
    mean = float((weight * around[0]).sum())
    sd = float((weight * each_sd).sum())
    scatter = float(np.sqrt((weight * (around - mean) ** 2).sum() / len(NEARBY)))
    moved = float(weight[((old != new) | (around != 0)).any(axis=0)].sum())
    share = UNSETTLED_SHARE if seen.unsettled else TRAFFIC_SHARE
    return mean, sd, share * (abs(mean) + scatter) + TRAFFIC_SD * moved
