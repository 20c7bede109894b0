"""`--speculative-config`: read it, refuse what vLLM refuses."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

METHODS: Final = frozenset(
    {"ngram", "medusa", "mlp_speculator", "draft_model", "suffix", "eagle", "eagle3", "mtp", "dflash", "custom_class"}
)
REJECTION_SAMPLE_METHODS: Final = frozenset({"standard", "synthetic", "block", "fly"})
# Block of eight queries: the confirmed token and seven drafts.
MAX_DFLASH_TOKENS: Final = 7
_KNOWN: Final = frozenset(
    {
        "model", "method", "num_speculative_tokens", "num_speculative_tokens_per_batch_size", "draft_sample_method",
        "draft_tensor_parallel_size", "draft_load_config", "draft_model_config", "draft_parallel_config",
        "attention_backend", "kv_cache_dtype", "quantization", "revision", "code_revision", "max_model_len",
        "rejection_sample_method", "synthetic_acceptance_rates", "synthetic_acceptance_length", "enforce_eager",
        "enable_adaptive_verification", "disable_padded_drafter_batch", "use_local_argmax_reduction",
        "tensor_parallel_size",
        "moe_backend", "parallel_drafting", "prompt_lookup_max", "prompt_lookup_min", "speculative_token_tree",
        "suffix_decoding_max_tree_depth", "suffix_decoding_max_cached_requests", "suffix_decoding_max_spec_factor",
        "suffix_decoding_min_token_prob", "posterior_threshold", "posterior_alpha", "target_model_config",
        "target_parallel_config",
    }
)  # fmt: skip


class SpeculativeConfigError(ValueError):
    """vLLM would not start with it."""


@dataclass(frozen=True, slots=True)
class SpeculativeConfig:
    """ranges: (first batch, last batch, K), both inclusive. synthetic_rates: an `acceptance.Profile`, or None."""

    method: str
    model: str | None
    num_speculative_tokens: int
    ranges: tuple[tuple[int, int, int], ...]
    synthetic_rates: tuple[float, ...] | None

    def table(self, max_batch: int) -> tuple[int, ...]:
        """K by batch size, shape (max_batch + 1,), at most the start value; gaps and the tail carry the K before."""
        table = [self.num_speculative_tokens] * (max_batch + 1)
        for first, _last, k in self.ranges:
            for batch in range(first, max_batch + 1):
                table[batch] = min(k, self.num_speculative_tokens)
        return tuple(table)


def parse(text: str) -> SpeculativeConfig:
    """Raises SpeculativeConfigError with the field at fault."""
    try:
        content = json.loads(text)
    except ValueError as error:
        raise SpeculativeConfigError(f"not JSON: {error}") from error
    if not isinstance(content, dict):
        raise SpeculativeConfigError("must be a JSON object")
    unknown = sorted(set(content) - _KNOWN)
    if unknown:
        raise SpeculativeConfigError(f"{unknown[0]}: Unexpected keyword argument")
    method = _method(content)
    k = _num_speculative_tokens(content)
    return SpeculativeConfig(method, content.get("model"), k, _ranges(content), _synthetic_rates(content, k))


def _method(content: Mapping[str, Any]) -> str:
    method, model = content.get("method"), content.get("model")
    if method is None and model is not None:
        # vLLM reads it from the draft's configuration; without weights only the name can tell.
        method = next((m for m in ("dflash", "eagle3", "eagle", "medusa") if m in str(model).lower()), "draft_model")
    if method not in METHODS:
        raise SpeculativeConfigError(f"method: Input should be one of {', '.join(sorted(METHODS))}")
    if model is None and method in {"dflash", "eagle", "eagle3", "medusa", "draft_model", "mlp_speculator"}:
        raise SpeculativeConfigError(f"model: needed for method {method}")
    return str(method)


def _num_speculative_tokens(content: Mapping[str, Any]) -> int:
    k = content.get("num_speculative_tokens")
    if type(k) is not int or k < 1:
        raise SpeculativeConfigError("num_speculative_tokens: Input should be an integer greater than 0")
    if k > MAX_DFLASH_TOKENS:
        # vLLM itself does not check; a block of eight has no further drafts and the cost table no further rows.
        raise SpeculativeConfigError(
            f"num_speculative_tokens: {k} is above {MAX_DFLASH_TOKENS}, all that a block of this drafter proposes"
        )
    return k


def _ranges(content: Mapping[str, Any]) -> tuple[tuple[int, int, int], ...]:
    field = "num_speculative_tokens_per_batch_size"
    given = content.get(field)
    if given is None:
        return ()
    if not isinstance(given, list) or not given:
        raise SpeculativeConfigError(f"{field}: needs a list of [first, last, K]")
    expected = 1
    ranges = []
    for item in given:
        if not _integers(item, 3) or item[0] < expected or item[1] < item[0] or item[2] < 0:
            raise SpeculativeConfigError(f"{field}: {item!r} is not an ascending [first, last, K]")
        ranges.append((item[0], item[1], item[2]))
        expected = item[1] + 1
    if ranges[0][0] != 1:
        raise SpeculativeConfigError(f"{field}: the first range must start at batch size 1")
    return tuple(ranges)


def _integers(item: Any, length: int) -> bool:
    return isinstance(item, list) and len(item) == length and all(type(part) is int for part in item)


def _synthetic_rates(content: Mapping[str, Any], k: int) -> tuple[float, ...] | None:
    method = content.get("rejection_sample_method", "standard")
    if method not in REJECTION_SAMPLE_METHODS:
        known = ", ".join(sorted(REJECTION_SAMPLE_METHODS))
        raise SpeculativeConfigError(f"rejection_sample_method: Input should be one of {known}")
    rates, length = content.get("synthetic_acceptance_rates"), content.get("synthetic_acceptance_length")
    if method != "synthetic":
        return None
    if (rates is None) == (length is None):
        raise SpeculativeConfigError("synthetic_acceptance_rates or synthetic_acceptance_length: exactly one is needed")
    if rates is None:
        return _rates_of_length(length, k)
    if not _is_rates(rates, k):
        raise SpeculativeConfigError(f"synthetic_acceptance_rates: needs {k} non-increasing values within 0..1")
    return tuple(map(float, rates))


def _is_rates(rates: Any, k: int) -> bool:
    if not isinstance(rates, Sequence) or len(rates) != k or not all(type(r) in (int, float) for r in rates):
        return False
    return all(0 <= rate <= 1 for rate in rates) and list(rates) == sorted(rates, reverse=True)


def _rates_of_length(length: Any, k: int) -> tuple[float, ...]:
    """As vLLM makes them of a mean accepted length, the bonus token included: with the least variance."""
    if type(length) not in (int, float) or not 1 <= length <= k + 1:
        raise SpeculativeConfigError(f"synthetic_acceptance_length: needs a value from 1 to {k + 1}")
    return tuple(min(1.0, max(0.0, length - 1 - position)) for position in range(k))
