"""Bad input, with the words that must answer it: said by the API server at admission and by the models afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Bad:
    """spec: laid over a valid one (`...` removes). path: the field that is blamed. said: part of the message.

    api_says: where the API server's own check comes first, its words.
    """

    id: str
    spec: dict[str, Any]
    path: str
    said: str
    api_says: str | None = None
    name: str = field(default="demo")


BAD_INPUTS: Final = (
    Bad(
        "max above 7",
        {"tuning": {"max": 9}},
        "spec.tuning.max",
        "is 9, but an engine drafts between 1 and 7 tokens; set it to a number from 1 to 7",
    ),
    Bad(
        "min below 1",
        {"tuning": {"min": 0}},
        "spec.tuning.min",
        "is 0, but an engine drafts between 1 and 7 tokens; set it to a number from 1 to 7",
    ),
    Bad(
        "start value above 7",
        {"speculator": {"numSpeculativeTokens": 8}},
        "spec.speculator.numSpeculativeTokens",
        "is 8, but an engine drafts between 1 and 7 tokens; set it to a number from 1 to 7",
    ),
    Bad(
        "min above max",
        {"tuning": {"min": 5, "max": 3}},
        "spec.tuning.min",
        "spec.tuning.min is 5, but spec.tuning.max is 3; lower min or raise max",
    ),
    Bad(
        "max above the block",
        {"speculator": {"blockSize": 4, "numSpeculativeTokens": 3}, "tuning": {"max": 5}},
        "spec.tuning.max",
        "spec.tuning.max is 5, but this drafter proposes at most blockSize - 1 tokens (blockSize is 4); lower it, or "
        "choose a drafter with a longer block",
    ),
    Bad(
        "start value above the block",
        {"speculator": {"blockSize": 4, "numSpeculativeTokens": 5}, "tuning": {"max": 3}},
        "spec.speculator.numSpeculativeTokens",
        "spec.speculator.numSpeculativeTokens is 5, but this drafter proposes at most blockSize - 1 tokens",
    ),
    Bad(
        "min above the start value",
        {"speculator": {"numSpeculativeTokens": 3}, "tuning": {"min": 4}},
        "spec.tuning.min",
        "spec.tuning.min is 4, but the engine starts with at most 3 tokens; lower min or raise "
        "spec.speculator.numSpeculativeTokens",
    ),
    Bad(
        "two sources",
        {"model": {"source": {"pvc": {"claimName": "weights"}}}},
        "spec.model.source",
        "needs exactly one source; keep one of huggingFace, pvc and image and remove the others",
    ),
    Bad(
        "no source",
        {"model": {"source": {"huggingFace": ...}}},
        "spec.model.source",
        "needs exactly one source; keep one of huggingFace, pvc and image and remove the others",
    ),
    Bad(
        "two sources of the speculator",
        {"speculator": {"source": {"image": {"reference": "drafter:1"}}}},
        "spec.speculator.source",
        "needs exactly one source",
    ),
    Bad(
        "a drafter without weights",
        {"speculator": {"source": ...}},
        "spec.speculator",
        "method dflash drafts with weights of its own; set spec.speculator.source",
    ),
    Bad(
        "data parallel and live",
        {"engine": {"parallelism": {"tensor": 2, "data": 4}}, "tuning": {"switching": "Live"}},
        "spec.tuning.switching",
        "spec.tuning.switching is Live, but an engine with spec.engine.parallelism.data of 4 has no batch-size "
        "schedule; set switching to Restart, or data to 1 and raise replicas",
    ),
    Bad(
        "more GPUs than a node has",
        {"engine": {"parallelism": {"tensor": 4, "data": 4}}},
        "spec.engine.parallelism",
        "one replica would take tensor 4 x data 4 GPUs, but a node has 8; lower one",
    ),
    Bad(
        "no pod may go and none may come",
        {"rollout": {"maxUnavailable": 0, "maxSurge": 0}},
        "spec.rollout.maxUnavailable",
        "spec.rollout.maxUnavailable and spec.rollout.maxSurge are both 0, so no pod could ever be replaced; "
        "set maxUnavailable to 1, or maxSurge to 1 if a spare node's GPUs are free",
    ),
    *(
        Bad(
            f"owned argument {argument}",
            {"engine": {"args": ["--seed=1", argument]}},
            "spec.engine.args",
            f"spec.engine.args sets {name}, which the operator sets; remove it and use {instead}",
        )
        for argument, name, instead in (
            ("--speculative-config={}", "--speculative-config", "spec.speculator"),
            ("--speculative_config", "--speculative-config", "spec.speculator"),
            ("--speculative-config.num_speculative_tokens=3", "--speculative-config", "spec.speculator"),
            ("-sc", "-sc", "spec.speculator"),
            ("--model", "--model", "spec.model.source"),
            ("--port=9", "--port", "nothing, the port is fixed"),
            ("--max_model_len=9", "--max-model-len", "spec.engine.maxModelLen"),
            ("--api-key", "--api-key", "spec.engine.apiKeySecretRef"),
            ("-tp=2", "-tp", "spec.engine.parallelism.tensor"),
            ("--no-enable-expert-parallel", "--no-enable-expert-parallel", "spec.engine.parallelism.expert"),
        )
    ),
    Bad(
        "owned variable",
        {"engine": {"env": [{"name": "A", "value": "b"}, {"name": "HF_TOKEN", "value": "hf_x"}]}},
        "spec.engine.env",
        "spec.engine.env sets HF_TOKEN, which the operator sets; remove it and use "
        "spec.model.source.huggingFace.tokenSecretRef",
    ),
    Bad(
        "an unknown field",
        {"tuning": {"maximum": 5}},
        "spec.tuning.maximum",
        "is not a field of this version; remove it, or check its spelling against docs/reference.md",
        api_says='unknown field "spec.tuning.maximum"',
    ),
    Bad(
        "an unknown mode",
        {"tuning": {"mode": "Fast"}},
        "spec.tuning.mode",
        "is \"Fast\", but must be 'Auto', 'Recommend' or 'Off'; use one of these",
        api_says='Unsupported value: "Fast": supported values: "Auto", "Recommend", "Off"',
    ),
    Bad(
        "a missing image",
        {"engine": {"image": ...}},
        "spec.engine.image",
        "is missing; set it",
        api_says="spec.engine.image: Required value",
    ),
    Bad(
        "an example as it is in the repository",
        {"engine": {"image": "REGISTRY/specdec/vllm:0.1.0"}},
        "spec.engine.image",
        "spec.engine.image still begins with REGISTRY, the placeholder of the examples; put the registry "
        "there that you pushed the engine's image to (docs/quickstart.md shows how it is built)",
    ),
    Bad(
        "too few batched tokens",
        {"engine": {"maxNumSeqs": 1024, "maxNumBatchedTokens": 4096}},
        "spec.engine.maxNumBatchedTokens",
        "spec.engine.maxNumBatchedTokens is 4096, too few for 1024 sequences of numSpeculativeTokens + 1 tokens each; "
        "raise it, or lower maxNumSeqs",
    ),
    Bad(
        "GPUs among the resources",
        {"engine": {"resources": {"limits": {"nvidia.com/gpu": 4}}}},
        "spec.engine.resources",
        "nvidia.com/gpu follows from spec.engine.parallelism; remove it here, set tensor and data there",
    ),
    Bad(
        "more memory than there is",
        {"engine": {"gpuMemoryUtilization": "1.5"}},
        "spec.engine.gpuMemoryUtilization",
        'spec.engine.gpuMemoryUtilization must lie between 0 and 1; write it as 900m or "0.9" in quotes',
    ),
    Bad(
        "two caches",
        {"engine": {"cache": {"size": "1Ti", "emptyDir": {}}}},
        "spec.engine.cache",
        "spec.engine.cache takes one of size, existingClaim and emptyDir; keep one and remove the others",
    ),
    Bad(
        "a storage class of nothing",
        {"engine": {"cache": {"storageClassName": "fast"}}},
        "spec.engine.cache.storageClassName",
        "spec.engine.cache.storageClassName needs a size; set spec.engine.cache.size as well",
    ),
    Bad(
        "two tokens",
        {
            "model": {"source": {"huggingFace": {"repo": "a/b", "tokenSecretRef": {"name": "one", "key": "token"}}}},
            "speculator": {
                "source": {"huggingFace": {"repo": "a/c", "tokenSecretRef": {"name": "two", "key": "token"}}}
            },
        },
        "spec.speculator.source",
        "the model and the speculator name different tokenSecretRefs, but an engine has one token; name one Secret "
        "whose token may read both repositories",
    ),
    Bad(
        "a repository without an owner",
        {"model": {"source": {"huggingFace": {"repo": "DeepSeek-V4-Flash"}}}},
        "spec.model.source.huggingFace.repo",
        "is not a repository; write owner/name, such as deepseek-ai/DeepSeek-V4-Flash",
    ),
    Bad(
        "a duration without a unit",
        {"tuning": {"cooldown": "300"}},
        "spec.tuning.cooldown",
        "is not a duration; write a whole number above 0 with one unit of ms, s, m or h, such as 40ms or 90m",
    ),
    Bad(
        "a schedule of four fields",
        {"tuning": {"disruption": {"windows": [{"schedule": "0 2 * *", "duration": "4h"}]}}},
        "spec.tuning.disruption.windows[0].schedule",
        "is not a cron schedule; write five fields: minute hour day-of-month month day-of-week, such as 0 2 * * *",
    ),
    Bad(
        "an hour that no clock shows",
        {"tuning": {"disruption": {"windows": [{"schedule": "0 24 * * *", "duration": "4h"}]}}},
        "spec.tuning.disruption.windows[0].schedule",
        "is not a cron schedule; write five fields",
    ),
    Bad(
        "a time zone with a space",
        {
            "tuning": {
                "disruption": {"windows": [{"schedule": "0 2 * * *", "duration": "4h", "timeZone": "Europe Zurich"}]}
            }
        },
        "spec.tuning.disruption.windows[0].timeZone",
        "is not a time zone; write an IANA name such as UTC or Europe/Zurich",
    ),
    Bad(
        "a quantity that is none",
        {"engine": {"shmSize": "lots"}},
        "spec.engine.shmSize",
        "is not a quantity; write a number with an optional suffix, such as 4, 500m or 16Gi",
        api_says="spec.engine.shmSize in body should match",
    ),
    Bad(
        "too many replicas",
        {"replicas": 5000},
        "spec.replicas",
        "is 5000, but may be at most 1000; lower it",
        api_says="spec.replicas in body should be less than or equal to 1000",
    ),
    Bad(
        "a number for a text",
        {"engine": {"image": 7}},
        "spec.engine.image",
        "is 7, which is not of the right type; see docs/reference.md",
        api_says="spec.engine.image in body must be of type string",
    ),
    Bad(
        "a name that no Service can bear",
        {},
        "metadata.name",
        "metadata.name must be at most 50 characters, begin with a letter and hold only lower-case letters, digits and "
        "'-', because the Service bears it; choose another name",
        name="1.flash",
    ),
    Bad(
        "a peer that is two things",
        {"networkPolicy": {"extraEgress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}]}]}},
        "spec.networkPolicy.extraEgress[0].to[0]",
        "a peer is either an ipBlock or a podSelector, a namespaceSelector or both; keep one of them",
    ),
    Bad(
        "a peer that is nothing",
        {"networkPolicy": {"extraIngress": [{"from": [{}]}]}},
        "spec.networkPolicy.extraIngress[0].from[0]",
        "a peer is either an ipBlock or a podSelector, a namespaceSelector or both; keep one of them",
    ),
    Bad(
        "an address for a network",
        {"networkPolicy": {"extraEgress": [{"to": [{"ipBlock": {"cidr": "10.0.0.1"}}]}]}},
        "spec.networkPolicy.extraEgress[0].to[0].ipBlock.cidr",
        "is not a network; write it in CIDR notation, such as 10.0.0.0/8",
    ),
    Bad(
        "a selector that is misspelt and would select everything",
        {"networkPolicy": {"extraEgress": [{"to": [{"podSelector": {"matchlabels": {"app": "proxy"}}}]}]}},
        "spec.networkPolicy.extraEgress[0].to[0].podSelector.matchlabels",
        "is not a field of this version; remove it",
        api_says='unknown field "spec.networkPolicy.extraEgress[0].to[0].podSelector.matchlabels"',
    ),
    Bad(
        "a range of ports that ends before it begins",
        {"networkPolicy": {"extraEgress": [{"ports": [{"port": 9000, "endPort": 8000}]}]}},
        "spec.networkPolicy.extraEgress[0].ports[0].endPort",
        "endPort needs a port that is a number and not above it; set port to the first of the range",
    ),
    Bad(
        "a port that no host has",
        {"networkPolicy": {"extraEgress": [{"ports": [{"port": 70000}]}]}},
        "spec.networkPolicy.extraEgress[0].ports[0].port",
        "is not a port; write a number from 1 to 65535, or the name of a pod's port",
        api_says="spec.networkPolicy.extraEgress[0].ports[0].port in body should be less than or equal to 65535",
    ),
)
