"""Parse one metrics page into the tuner's counters: linear in its length, whatever it holds."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from specdec.engine import families
from specdec.tuning.samples import Cell, Histogram, StockCounters

# 8 K x 17 buckets x 2 phases x 20 samples, and vLLM's own of a generous number of data-parallel ranks.
MAX_SAMPLES: Final = 20_000
MAX_LABEL_BYTES: Final = 1024
MAX_VALUE_BYTES: Final = 64
# Pages repeat the same labels at every scrape; hostile ones cannot keep more than 4 MiB here.
LABEL_TEXTS_KEPT: Final = 4096

# Family -> text of the labels -> value.
Series = Mapping[bytes, Mapping[bytes, float]]
CellKey = tuple[int, int, bool]
_PHASES: Final = {b"decode": False, b"mixed": True}
_VLLM: Final = b"vllm:"


class InvalidPage(ValueError):
    """The page is not the metrics page of an engine, or its numbers cannot be."""


@dataclass(frozen=True, slots=True)
class Page:
    """What one page says; see `specdec.tuning.samples` for the parts."""

    stock: StockCounters
    cells: tuple[Cell, ...]
    schedule_revision: int | None


def parse(page: bytes) -> Page:
    """Counters of one page, summed over the label `engine`.

    Raises InvalidPage when no family of vLLM's is there, a series occurs twice, or a value is negative or not finite.
    """
    series = _series(page)
    if not any(name.startswith(_VLLM) for name in series):
        raise InvalidPage("no vllm: family on the page; does the port belong to an engine?")
    return Page(_stock(series), _cells(series), _revision(series))


def _series(page: bytes) -> dict[bytes, dict[bytes, float]]:
    series: defaultdict[bytes, dict[bytes, float]] = defaultdict(dict)
    for count, match in enumerate(families.SAMPLE.finditer(b"\n" + page)):
        name, labels, text = match.groups(b"")
        if count == MAX_SAMPLES:
            raise InvalidPage(f"more than {MAX_SAMPLES} samples of the needed families")
        if len(labels) > MAX_LABEL_BYTES:
            raise InvalidPage(f"{name.decode()} has more than {MAX_LABEL_BYTES} bytes of labels")
        if labels in series[name]:
            raise InvalidPage(f"{name.decode()} occurs twice with the same labels")
        series[name][labels] = _value(name, text)
    return dict(series)


def _value(name: bytes, text: bytes) -> float:
    try:
        value = float(text) if len(text) <= MAX_VALUE_BYTES else math.nan
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        shown = text[:40].decode(errors="replace")
        raise InvalidPage(f"{name.decode()} has the impossible value {shown!r}")
    return value


def _labels(text: bytes) -> Mapping[bytes, bytes]:
    return dict(families.LABEL.findall(text))


def _total(series: Series, name: bytes) -> float | None:
    values = series.get(name)
    return sum(values.values()) if values else None


def _stock(series: Series) -> StockCounters:
    def total(name: bytes) -> float | None:
        return _total(series, name)

    usage = series.get(families.KV_CACHE_USAGE)
    created = series.get(families.CREATED)
    return StockCounters(
        drafts=total(families.DRAFTS),
        draft_tokens=total(families.DRAFT_TOKENS),
        accepted_tokens=total(families.ACCEPTED_TOKENS),
        accepted_per_position=_accepted_per_position(series),
        generated_tokens=total(families.GENERATED_TOKENS),
        prompt_tokens=total(families.PROMPT_TOKENS),
        engine_steps=total(families.ENGINE_STEPS),
        inter_token_latency=_histogram(series, families.INTER_TOKEN_LATENCY),
        time_per_output_token=_histogram(series, families.TIME_PER_OUTPUT_TOKEN),
        time_to_first_token=_histogram(series, families.TIME_TO_FIRST_TOKEN),
        running_requests=total(families.RUNNING_REQUESTS),
        waiting_requests=total(families.WAITING_REQUESTS),
        kv_cache_usage=max(usage.values()) if usage else None,
        preemptions=total(families.PREEMPTIONS),
        # The youngest rank: it changes when any of them starts again.
        created=max(created.values()) if created else None,
    )


def _accepted_per_position(series: Series) -> tuple[float, ...]:
    accepted = [0.0] * families.POSITIONS
    length = 0
    for text, value in series.get(families.ACCEPTED_PER_POSITION, {}).items():
        position = _position(text)
        if position is not None:
            accepted[position] += value
            length = max(length, position + 1)
    return tuple(accepted[:length])


def _histogram(series: Series, name: bytes) -> Histogram | None:
    count, total = _total(series, name + b"_count"), _total(series, name + b"_sum")
    if count is None or total is None:
        return None
    cumulative: defaultdict[float, float] = defaultdict(float)
    for text, value in series.get(name + b"_bucket", {}).items():
        cumulative[_upper_bound(text)] += value
    uppers = tuple(upper for upper in sorted(cumulative) if math.isfinite(upper))
    return Histogram(uppers, tuple(cumulative[upper] for upper in uppers), count, total)


@lru_cache(LABEL_TEXTS_KEPT)
def _upper_bound(text: bytes) -> float:
    try:
        return float(_labels(text).get(b"le", b""))
    except ValueError as error:
        raise InvalidPage("a histogram bucket has no number in its label le") from error


def _cells(series: Series) -> tuple[Cell, ...]:
    totals: defaultdict[CellKey, dict[str, float]] = defaultdict(lambda: dict.fromkeys(families.CELL_TOTALS, 0.0))
    for attribute, name in families.CELL_TOTALS.items():
        for text, value in series.get(name, {}).items():
            key = _cell_key(text)
            if key is not None:
                totals[key][attribute] += value
    verified = _per_position(series, families.CELL_VERIFIED)
    accepted = _per_position(series, families.CELL_ACCEPTED)
    return tuple(
        Cell(
            k=key[0],
            bucket=key[1],
            mixed=key[2],
            verified=tuple(verified[key]),
            accepted=tuple(accepted[key]),
            **totals[key],
        )
        for key in sorted(totals)
    )


def _per_position(series: Series, name: bytes) -> defaultdict[CellKey, list[float]]:
    drafts: defaultdict[CellKey, list[float]] = defaultdict(lambda: [0.0] * families.POSITIONS)
    for text, value in series.get(name, {}).items():
        key, position = _cell_key(text), _position(text)
        if key is not None and position is not None:
            drafts[key][position] += value
    return drafts


@lru_cache(LABEL_TEXTS_KEPT)
def _cell_key(text: bytes) -> CellKey | None:
    """None for a cell outside the contract, which a newer engine may have."""
    labels = _labels(text)
    k = _small(labels.get(b"k"), families.MAX_K + 1)
    bucket = families.BATCH_LABELS.get(labels.get(b"batch", b""))
    mixed = _PHASES.get(labels.get(b"phase", b""))
    return None if k is None or bucket is None or mixed is None else (k, bucket, mixed)


@lru_cache(LABEL_TEXTS_KEPT)
def _position(text: bytes) -> int | None:
    return _small(_labels(text).get(b"position"), families.POSITIONS)


def _small(text: bytes | None, below: int) -> int | None:
    """`text` as an integer from 0 to `below` - 1, of at most two digits; else None."""
    if text is None or not text.isdigit() or len(text) > 2:
        return None
    value = int(text)
    return value if value < below else None


def _revision(series: Series) -> int | None:
    revisions = series.get(families.SCHEDULE_REVISION)
    return int(min(revisions.values())) if revisions else None
