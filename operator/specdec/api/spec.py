"""`.spec` as a whole, and the rules between its parts."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from specdec.api.engine import Engine
from specdec.api.fleet import FreeObject, Monitoring, Placement, Rollout
from specdec.api.network import NetworkPolicy
from specdec.api.rules import Model, Rule
from specdec.api.sources import SecretKey
from specdec.api.speculator import Method, Speculator, TargetModel
from specdec.api.tuning import SwitchingPolicy, Tuning

_TARGET: Final = "self.model.source.huggingFace"
_DRAFT: Final = "self.speculator.source.huggingFace"


class Spec(Model):
    """What the user wants."""

    replicas: Annotated[int, Field(ge=0, le=1000)] = 1
    """Engine pods."""
    paused: bool = False
    """Freeze rollouts and tuning; status stays fresh."""
    model: TargetModel
    """The model that is served."""
    speculator: Speculator
    """The drafter."""
    engine: Engine
    """The vLLM container."""
    tuning: Tuning = Tuning()
    """Bounds and policy of the tuner."""
    rollout: Rollout = Rollout()
    """How pods are replaced."""
    placement: Placement = Placement()
    """Where pods may run."""
    monitoring: Monitoring = Monitoring()
    """How the pods are watched."""
    network_policy: NetworkPolicy = NetworkPolicy()
    """What the pods may be reached by and may reach."""
    pod_template: FreeObject = {}
    """Overlay on the pod template, applied last, like a strategic merge patch: structs merge, lists of named items
    merge by name, `$patch: delete` in a struct removes it, `$patch: replace` puts it in the place of ours."""

    rules = (
        Rule(
            cel="self.speculator.method != 'dflash' || self.tuning.max <= self.speculator.blockSize - 1",
            holds=lambda self: (
                self.speculator.method != Method.DFLASH or self.tuning.max <= self.speculator.block_size - 1
            ),
            message="spec.tuning.max is {self.tuning.max}, but this drafter proposes at most blockSize - 1 tokens "
            "(blockSize is {self.speculator.blockSize}); lower it, or choose a drafter with a longer block",
            path=".tuning.max",
        ),
        Rule(
            cel="self.tuning.min <= self.speculator.numSpeculativeTokens",
            holds=lambda self: self.tuning.min <= self.speculator.num_speculative_tokens,
            message="spec.tuning.min is {self.tuning.min}, but the engine starts with at most "
            "{self.speculator.numSpeculativeTokens} tokens; lower min or raise spec.speculator.numSpeculativeTokens",
            path=".tuning.min",
        ),
        Rule(
            cel="self.engine.parallelism.data == 1 || self.tuning.switching != 'Live'",
            holds=lambda self: self.engine.parallelism.data == 1 or self.tuning.switching != SwitchingPolicy.LIVE,
            message="spec.tuning.switching is Live, but an engine with spec.engine.parallelism.data of "
            "{self.engine.parallelism.data} has no batch-size schedule; set switching to Restart, or data to 1 and "
            "raise replicas",
            path=".tuning.switching",
        ),
        Rule(
            cel="self.engine.maxNumBatchedTokens"
            " >= self.engine.maxNumSeqs * (self.speculator.numSpeculativeTokens + 1)",
            holds=lambda self: (
                self.engine.max_num_batched_tokens
                >= self.engine.max_num_seqs * (self.speculator.num_speculative_tokens + 1)
            ),
            message="spec.engine.maxNumBatchedTokens is {self.engine.maxNumBatchedTokens}, too few for "
            "{self.engine.maxNumSeqs} sequences of numSpeculativeTokens + 1 tokens each; raise it, or lower maxNumSeqs",
            path=".engine.maxNumBatchedTokens",
        ),
        Rule(
            cel=f"!has({_TARGET}) || !has({_TARGET}.tokenSecretRef)"
            f" || !has(self.speculator.source) || !has({_DRAFT}) || !has({_DRAFT}.tokenSecretRef)"
            f" || ({_TARGET}.tokenSecretRef.name == {_DRAFT}.tokenSecretRef.name"
            f" && {_TARGET}.tokenSecretRef.key == {_DRAFT}.tokenSecretRef.key)",
            holds=lambda self: len(set(self.hub_tokens)) <= 1,
            message="the model and the speculator name different tokenSecretRefs, but an engine has one token; "
            "name one Secret whose token may read both repositories",
            path=".speculator.source",
        ),
    )

    @property
    def hub_tokens(self) -> tuple[SecretKey, ...]:
        """The access tokens of the hub that the sources name; the rules leave at most one distinct."""
        sources = (self.model.source, self.speculator.source)
        hubs = [source.hugging_face for source in sources if source and source.hugging_face]
        return tuple(hub.token_secret_ref for hub in hubs if hub.token_secret_ref)

    @property
    def max_k(self) -> int:
        """Largest K that the tuner may choose."""
        return min(self.tuning.max, self.speculator.num_speculative_tokens)

    @property
    def live_possible(self) -> bool:
        """Whether the engines may be told of K while they run, as far as the spec says."""
        return self.engine.parallelism.data == 1 and self.tuning.switching != SwitchingPolicy.RESTART
