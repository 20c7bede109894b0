"""What can be known to be wrong before 160 GB of weights are loaded. Pure: facts in, findings out.

An error stops the start with its remedy; a warning reaches the live speculation endpoint, where the operator reads it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

# (target revision, drafter revision) that were trained for each other and served together.
KNOWN_PAIRS: Final = frozenset(
    {("60d8d70770c6776ff598c94bb586a859a38244f1", "e44fc94ceb1e7ed45550d15e782aeadd08050483")}
)
# Weights on which the drafter's acceptance is reported at about 3 %: every K loses to no speculation.
FOREIGN_WEIGHTS: Final = re.compile(r"DeepSeek-V4-Flash-0731", re.IGNORECASE)
SNAPSHOT: Final = re.compile(r"/snapshots/([0-9a-f]{40})(?:/|$)")


class PreflightError(RuntimeError):
    """The engine would fail or serve wrongly; the message says what to change."""


@dataclass(frozen=True)
class Model:
    """name: as given to the engine, a repository or a path; revision: None when not pinned."""

    name: str
    revision: str | None

    @property
    def commit(self) -> str | None:
        """The revision, also where it only stands in the path of a download cache."""
        if self.revision:
            return self.revision
        found = SNAPSHOT.search(self.name)
        return found.group(1) if found else None


@dataclass(frozen=True)
class Facts:
    """The configuration of an engine that drafts. None: not known, or not there.

    block_size: tokens of one draft block, the first of which is no proposal. streams: hidden-state streams of the
    target that the drafter reads (hc_mult), 1 for an ordinary target. fusion_width: inputs of the drafter's fusion
    layer, from its weights. patched: the multi-stream changes are in place. capture_tokens: largest batch, in tokens,
    for which a CUDA graph is captured. schedule_dropped: this method runs without one, whatever was asked for.
    """

    method: str
    k: int
    target: Model
    drafter: Model | None
    block_size: int | None
    target_hidden_size: int
    streams: int
    aux_layers: int | None
    fusion_width: int | None
    patched: bool
    pipeline_parallel: int
    data_parallel: int
    max_num_seqs: int
    max_num_batched_tokens: int
    capture_tokens: int | None
    start_schedule: bool
    schedule_dropped: bool
    adaptive_verification: bool
    target_cache_dtype: str
    drafter_cache_dtype: str | None

    @property
    def multi_stream(self) -> bool:
        return self.method == "dflash" and self.streams > 1


@dataclass(frozen=True)
class Finding:
    fatal: bool
    reason: str
    message: str


def fatal(reason: str, message: str) -> Finding:
    return Finding(True, reason, message)


def warning(reason: str, message: str) -> Finding:
    return Finding(False, reason, message)


def start_value_exceeds_block(f: Facts) -> Finding | None:
    if f.method != "dflash" or f.block_size is None or f.k < f.block_size:
        return None
    return fatal(
        "StartValueExceedsBlock",
        f"num_speculative_tokens is {f.k}, but this drafter proposes at most {f.block_size - 1} tokens (block size "
        f"{f.block_size}). Set it to {f.block_size - 1} or less, or choose a drafter with a longer block.",
    )


def patches_missing(f: Facts) -> Finding | None:
    if not f.multi_stream or f.patched:
        return None
    return fatal(
        "MultiStreamUnsupported",
        f"the drafter reads {f.streams} hidden-state streams, which this build of vLLM does not hand over. Use the "
        "image of this project, or run `python -m specdec_vllm.patches apply` when building yours.",
    )


def fusion_width_differs(f: Facts) -> Finding | None:
    if f.method != "dflash" or f.fusion_width is None or f.aux_layers is None:
        return None
    expected = f.target_hidden_size * f.streams * f.aux_layers
    if f.fusion_width == expected:
        return None
    return fatal(
        "FusionWidthMismatch",
        f"the drafter's fusion layer takes {f.fusion_width} inputs, but {f.aux_layers} layers of this target in "
        f"{f.streams} streams of {f.target_hidden_size} give {expected}. This drafter was made for another target: "
        "choose the one that its model card names.",
    )


def streams_cross_pipeline(f: Facts) -> Finding | None:
    if not f.multi_stream or f.pipeline_parallel == 1:
        return None
    return fatal(
        "PipelineParallelUnsupported",
        "hidden-state streams are not handed from one pipeline stage to the next. Use --tensor-parallel-size instead "
        "of --pipeline-parallel-size.",
    )


def drafter_cache_shares_format(f: Facts) -> Finding | None:
    # "auto" becomes a packed fp8 format once the target's layers are built, and the drafter would be given the same.
    if not f.multi_stream or f.drafter_cache_dtype is not None or not f.target_cache_dtype.startswith(("fp8", "auto")):
        return None
    return fatal(
        "DrafterCacheFormat",
        "the drafter's attention cannot read the target's fp8 cache format. "
        'Add "kv_cache_dtype": "bfloat16" to --speculative-config.',
    )


def foreign_weights(f: Facts) -> Finding | None:
    if f.drafter is None or not FOREIGN_WEIGHTS.search(f.target.name):
        return None
    return warning(
        "DrafterMismatch",
        f"{f.drafter.name} was trained for the preview weights; on {f.target.name} about 3 % of its tokens are "
        "reported accepted. Serve deepseek-ai/DeepSeek-V4-Flash, or switch speculation off.",
    )


def pair_unknown(f: Facts) -> Finding | None:
    if not f.multi_stream or f.drafter is None or (f.target.commit, f.drafter.commit) in KNOWN_PAIRS:
        return None
    target, drafter = sorted(KNOWN_PAIRS)[0]
    return warning(
        "RevisionsUnknown",
        f"target revision {f.target.commit or 'not pinned'} with drafter revision {f.drafter.commit or 'not pinned'} "
        f"is no pair that was checked. Pin --revision {target} and the drafter to {drafter}, or watch the acceptance.",
    )


def batched_tokens_too_few(f: Facts) -> Finding | None:
    needed = f.max_num_seqs * (f.k + 1)
    if f.max_num_batched_tokens >= needed:
        return None
    return warning(
        "BatchedTokensTooFew",
        f"--max-num-batched-tokens {f.max_num_batched_tokens} lets a step verify only "
        f"{f.max_num_batched_tokens // (f.k + 1)} of {f.max_num_seqs} sequences at K = {f.k}. Set it to {needed} or "
        "more, or lower --max-num-seqs.",
    )


def graph_limit_too_low(f: Facts) -> Finding | None:
    needed = min(f.max_num_seqs * (f.k + 1), f.max_num_batched_tokens)
    if f.capture_tokens is None or f.capture_tokens >= needed:
        return None
    return warning(
        "GraphLimitTooLow",
        f"CUDA graphs end at {f.capture_tokens} tokens, but {f.max_num_seqs} sequences at K = {f.k} reach {needed}: "
        f"steps above {f.capture_tokens // (f.k + 1)} sequences take several times as long. Set "
        f"--max-cudagraph-capture-size to {graph_size(needed, f.max_num_batched_tokens)}, or lower --max-num-seqs.",
    )


def graph_size(tokens: int, largest_step: int) -> int:
    """The least size of a graph for `tokens`: vLLM cuts what it is told to multiples of 8 up to 256, of 16 above."""
    stride = 8 if tokens <= 256 else 16
    return min(-(-tokens // stride) * stride, largest_step)


def no_start_schedule(f: Facts) -> Finding | None:
    if f.start_schedule or f.data_parallel > 1:
        return None
    if f.schedule_dropped:
        return warning(
            "NoStartSchedule",
            f"vLLM's first model runner takes no schedule for method {f.method}, so K cannot be changed while the "
            "engine runs. Set VLLM_USE_V2_MODEL_RUNNER=1, or use another method.",
        )
    return warning(
        "NoStartSchedule",
        "the engine was started without a schedule, so K cannot be changed while it runs. Add "
        f'"num_speculative_tokens_per_batch_size": [[1, {f.max_num_seqs}, {f.k}]] to --speculative-config.',
    )


def data_parallel_ranks(f: Facts) -> Finding | None:
    if f.data_parallel == 1:
        return None
    return warning(
        "DataParallel",
        f"vLLM takes no schedule with {f.data_parallel} data-parallel ranks, so K can be changed by restart only. Use "
        "--tensor-parallel-size with --enable-expert-parallel to change it live.",
    )


def adaptive_verification(f: Facts) -> Finding | None:
    if not f.adaptive_verification:
        return None
    return warning(
        "AdaptiveVerification",
        "enable_adaptive_verification changes how many tokens are verified behind the schedule's back, and is reported "
        "to collapse acceptance with DeepSeek-V4 on Hopper. Remove it from --speculative-config.",
    )


CHECKS: Final[tuple[Callable[[Facts], Finding | None], ...]] = (
    start_value_exceeds_block,
    patches_missing,
    fusion_width_differs,
    streams_cross_pipeline,
    drafter_cache_shares_format,
    foreign_weights,
    pair_unknown,
    batched_tokens_too_few,
    graph_limit_too_low,
    no_start_schedule,
    data_parallel_ranks,
    adaptive_verification,
)


def findings(facts: Facts) -> tuple[Finding, ...]:
    """What every check finds, in the order of CHECKS."""
    return tuple(found for check in CHECKS if (found := check(facts)) is not None)


def refuse(found: Iterable[Finding]) -> None:
    """Raises PreflightError when any finding is fatal."""
    errors = [f"{f.reason}: {f.message}" for f in found if f.fatal]
    if errors:
        raise PreflightError("the engine cannot start as configured:\n" + "\n".join(f"- {e}" for e in errors))
