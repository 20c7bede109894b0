"""What pods did between two scrapes, by batch bucket, and how much faster one body of work was than another.

Compared is the time a request waits for one token, request-seconds over tokens, in each batch bucket in which both
worked. A side that is faster has the smaller batch, so only equal batches compare fairly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log
from typing import Final

import numpy as np

from specdec.tuning.samples import BATCH_BUCKET_ENDS, Sample

LEAST_TOKENS: Final = 200.0  # of the smaller side, at batches that both sides had, to be compared

Cells = Mapping[tuple[int, int], tuple[float, float, float, float]]
Work = Mapping[int, tuple[float, float]]
"""Batch bucket -> request-seconds and tokens."""

STOCK: Final = (-1, -1)  # the one cell of an engine without exact counters


@dataclass(frozen=True, slots=True)
class Counters:
    """One pod's counters of pure decode steps: steps, seconds, requests and tokens by (K, bucket).

    With stock counters one cell for all: steps, request-seconds, requests per step added up, tokens.
    """

    incarnation: str
    at: float
    cells: Cells


def counters(sample: Sample) -> Counters:
    """Those of one page."""
    cells = {
        (c.k, c.bucket): (c.steps, c.step_seconds, c.requests, c.generated_tokens) for c in sample.cells if not c.mixed
    }
    return Counters(sample.incarnation, sample.at, cells or _stock(sample))


def between(before: Counters | None, after: Counters) -> Work:
    """What a pod did between two scrapes; nothing where its counters fell, were lost or are no counts."""
    if before is None or before.incarnation != after.incarnation or after.at <= before.at:
        return {}
    work: Work = {}
    for key, now in after.cells.items():
        steps, seconds, requests, tokens = np.subtract(now, before.cells.get(key, (0.0,) * 4)).tolist()
        if not (steps >= 0 and seconds >= 0 and requests >= 0 and tokens >= 0):
            return {}
        if not steps or not requests or not seconds:
            continue
        batch = round(requests / steps)
        bucket = key[1] if key != STOCK else int(np.searchsorted(BATCH_BUCKET_ENDS, batch))
        waited = seconds if key == STOCK else seconds * requests / steps
        work = added(work, {bucket: (waited, tokens)})
    return work


def added(one: Work, other: Work) -> Work:
    """Both together."""
    none = (0.0, 0.0)
    return {
        bucket: (
            one.get(bucket, none)[0] + other.get(bucket, none)[0],
            one.get(bucket, none)[1] + other.get(bucket, none)[1],
        )
        for bucket in one.keys() | other.keys()
    }


def log_gain(one: Work, other: Work) -> float | None:
    """Log of tokens per request-second of `one` over `other`, weighted by the tokens of the smaller side at each batch
    bucket; None when few."""
    total, weight = 0.0, 0.0
    for bucket in one.keys() & other.keys():
        (waited, tokens), (others_waited, others_tokens) = one[bucket], other[bucket]
        common = min(tokens, others_tokens)
        if common > 0:
            total += common * log(others_waited / others_tokens * tokens / waited)
            weight += common
    return total / weight if weight >= LEAST_TOKENS else None


def _stock(sample: Sample) -> Cells:
    stock, itl = sample.stock, sample.stock.inter_token_latency
    if itl is None or stock.engine_steps is None or stock.generated_tokens is None:
        return {}
    return {STOCK: (stock.engine_steps, itl.sum_seconds, itl.count, stock.generated_tokens)}
