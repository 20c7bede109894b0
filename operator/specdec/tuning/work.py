"""What pods did between two scrapes, by batch bucket, and how much faster one body of work was than another.

Compared is the time a request waits for one token, request-seconds over tokens, in each batch bucket in which both
worked. A side that is faster has the smaller batch, so only equal batches compare fairly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, reduce
from math import log
from typing import Final

import numpy as np
from numpy.typing import NDArray

from specdec.api.schedule import Schedule
from specdec.tuning.samples import BATCH_BUCKET_ENDS, Sample, batches_of
from specdec.tuning.window import BUCKETS, difference

NEAR_LOG: Final = 0.25  # between two mean batches that are compared without buckets
LEAST_TOKENS: Final = 200.0  # of the smaller side, at batches that both sides had, to be compared

Floats = NDArray[np.float64]
Done = tuple[float, float, float, float]
"""Request-seconds, tokens, steps, and requests added up over the steps."""
Work = Mapping[int, Done]
"""By batch bucket."""
Slower = Callable[[float, float], float]
"""Log of the time per token at a second batch size over that at a first one."""

STOCK: Final = -1  # key of the one cell of an engine without exact counters
WHOLE: Final = -2  # the same where its batch does not matter, and the bucket of all batch sizes
NONE: Final[Done] = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Counters:
    """One pod's counters of pure decode steps. keys: shape (cells,), K * BUCKETS + bucket, ascending.

    cells: shape (cells, 4), steps, seconds, requests and tokens. With stock counters one cell for all: steps,
    request-seconds, requests per step added up, tokens.
    """

    incarnation: str
    at: float
    keys: NDArray[np.int16]
    cells: Floats


def counters(sample: Sample, schedule: Schedule | None = None) -> Counters:
    """Those of one page.

    schedule: leaves out what ran with another K than it says, as on an engine that was not told yet. Stock counters do
    not tell; all their batch sizes are then one bucket, which no border cuts.
    """
    rows: list[tuple[float, ...]] = sorted(
        (c.k * BUCKETS + c.bucket, c.steps, c.step_seconds, c.requests, c.generated_tokens)
        for c in sample.cells
        if not c.mixed and (schedule is None or c.k in _ks(schedule, c.bucket))
    )
    if not sample.cells:
        rows = _stock(sample, STOCK if schedule is None else WHOLE)
    table = np.array(rows, dtype=float).reshape(-1, 5)
    return Counters(sample.incarnation, sample.at, table[:, 0].astype(np.int16), table[:, 1:])


def between(before: Counters | None, after: Counters) -> Work:
    """What a pod did between two scrapes; nothing where its counters fell, were lost or are no counts."""
    if before is None or before.incarnation != after.incarnation or after.at <= before.at:
        return {}
    moved = difference((before.keys, before.cells), (after.keys, after.cells))
    if moved is None or not (moved >= 0.0).all():  # a NaN is no count either
        return {}
    work: Work = {}
    for key, (steps, seconds, requests, tokens) in zip(after.keys.tolist(), moved.tolist(), strict=True):
        if not steps or not requests or not seconds:
            continue
        bucket, waited = key % BUCKETS, seconds * requests / steps
        if key < 0:
            waited = seconds
            bucket = WHOLE if key == WHOLE else int(np.searchsorted(BATCH_BUCKET_ENDS, round(requests / steps)))
        work = added((work, {bucket: (waited, tokens, steps, requests)}))
    return work


def added(works: Iterable[Work]) -> Work:
    """All together."""
    return reduce(_added, works, {})


def log_gain(one: Work, other: Work, slower: Slower | None = None) -> float | None:
    """Log of tokens per request-second of `one` over `other`, weighted by the tokens of the smaller side at each batch
    bucket; None when few.

    slower: of `other`; brings it to the batch that `one` had within each bucket, since a faster side has the smaller.
    """
    total, weight = 0.0, 0.0
    for bucket in one.keys() & other.keys():
        (waited, tokens, *_), (others_waited, others_tokens, *_) = one[bucket], other[bucket]
        common = min(tokens, others_tokens)
        near = bucket != WHOLE or abs(log(_batch(one[bucket]) / _batch(other[bucket]))) <= NEAR_LOG
        if common > 0 and near:
            moved = slower(_batch(other[bucket]), _batch(one[bucket])) if slower is not None else 0.0
            total += common * (log(others_waited / others_tokens * tokens / waited) + moved)
            weight += common
    return total / weight if weight >= LEAST_TOKENS else None


def _batch(done: Done) -> float:
    return done[3] / done[2]


def _added(one: Work, other: Work) -> Work:
    return {bucket: _both(one.get(bucket, NONE), other.get(bucket, NONE)) for bucket in one.keys() | other.keys()}


def _both(one: Done, other: Done) -> Done:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2], one[3] + other[3]


@lru_cache(maxsize=512)
def _ks(schedule: Schedule, bucket: int) -> frozenset[int]:
    """Every K that `schedule` has in the bucket."""
    # an engine may have had more requests than the schedule names
    most = max(schedule.max_batch, BATCH_BUCKET_ENDS[-1] + 1)
    return frozenset(schedule.k_at(batch) for batch in batches_of(bucket, most))


def _stock(sample: Sample, key: int) -> list[tuple[float, ...]]:
    stock, itl = sample.stock, sample.stock.inter_token_latency
    if itl is None or stock.engine_steps is None or stock.generated_tokens is None:
        return []
    return [(key, stock.engine_steps, itl.sum_seconds, itl.count, stock.generated_tokens)]
