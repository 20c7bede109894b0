"""What is served and what drafts for it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, WithJsonSchema

from specdec.api.rules import Model, Rule
from specdec.api.sources import Source

MIN_K: Final = 1
MAX_K: Final = 7
DEFAULT_BLOCK_SIZE: Final = 8

K = Annotated[
    int,
    WithJsonSchema({"type": "integer", "minimum": MIN_K, "maximum": MAX_K}),
    Rule(
        cel=f"self >= {MIN_K} && self <= {MAX_K}",
        holds=lambda k: MIN_K <= k <= MAX_K,
        message=f"is {{self}}, but an engine drafts between {MIN_K} and {MAX_K} tokens; "
        f"set it to a number from {MIN_K} to {MAX_K}",
    ),
]
"""A number of speculative tokens."""


class Method(StrEnum):
    """How vLLM drafts. `dflash` is what this operator is proven with."""

    DFLASH = "dflash"
    EAGLE = "eagle"
    EAGLE3 = "eagle3"
    DRAFT_MODEL = "draft_model"
    MEDUSA = "medusa"
    MLP_SPECULATOR = "mlp_speculator"
    MTP = "mtp"
    NGRAM = "ngram"
    SUFFIX = "suffix"


WITHOUT_WEIGHTS: Final = (Method.MTP, Method.NGRAM, Method.SUFFIX)


class TargetModel(Model):
    """The model that is served."""

    served_name: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Name under which clients ask for it. The resource's name if unset."""
    source: Source
    """Where its weights come from."""


class Speculator(Model):
    """The drafter."""

    method: Method = Method.DFLASH
    """How vLLM drafts."""
    num_speculative_tokens: K = MAX_K
    """Start value of the engine: the largest K that it can use. Changing it restarts the pods."""
    block_size: Annotated[int, Field(ge=2, le=DEFAULT_BLOCK_SIZE)] = DEFAULT_BLOCK_SIZE
    """Tokens of one drafter block. A drafter proposes at most one token less."""
    source: Source | None = None
    """Where its weights come from. Unset only for methods without weights of their own (mtp, ngram, suffix)."""

    rules = (
        Rule(
            cel="self.numSpeculativeTokens <= self.blockSize - 1",
            holds=lambda self: self.num_speculative_tokens <= self.block_size - 1,
            message="spec.speculator.numSpeculativeTokens is {self.numSpeculativeTokens}, but this drafter proposes "
            "at most blockSize - 1 tokens (blockSize is {self.blockSize}); lower it, or choose a drafter with a "
            "longer block",
            path=".numSpeculativeTokens",
        ),
        Rule(
            cel="has(self.source) || self.method in ['mtp', 'ngram', 'suffix']",
            holds=lambda self: self.source is not None or self.method in WITHOUT_WEIGHTS,
            message="method {self.method} drafts with weights of its own; set spec.speculator.source",
        ),
    )
