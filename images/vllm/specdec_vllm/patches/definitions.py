"""The multi-stream changes. Without them the drafter of DeepSeek-V4 does not load, or drafts from wrong states.

a  the drafter's fusion layer is built for one stream: its weights do not fit, the start fails
b  the target hands over the mean of its streams: the first request ends the engine
c  the drafter's buffer is as wide as all streams, but what is stored there is as wide as one
d  with full CUDA graphs, the staged states are cut to one stream: no error, acceptance falls
"""

from __future__ import annotations

from typing import Final

from specdec_vllm.patches.source import SourcePatch

FUSION_INPUT: Final = SourcePatch(
    name="a-fusion-input",
    path="model_executor/models/qwen3_dflash.py",
    function="_get_dflash_fc_input_size",
    digests={
        "0.32.0": "918dd101bbdad7476edbafb8e79e0f90a88cf6d1a211342367634383e38405d1",
        "0.33.0": "918dd101bbdad7476edbafb8e79e0f90a88cf6d1a211342367634383e38405d1",
    },
    changes=(
        (
            "    return target_hidden_size * num_features_to_use",
            "    # specdec-vllm: every hidden-state stream of the target is an input, not their mean\n"
            "    from specdec_vllm.streams import drafter_width\n\n"
            "    return drafter_width(vllm_config) * num_features_to_use",
        ),
    ),
)

KNOW_DRAFTER: Final = (
    "        self.hc_mult = config.hc_mult\n",
    "        self.hc_mult = config.hc_mult\n"
    "        # specdec-vllm: the drafter may read every hidden-state stream, not their mean\n"
    "        from specdec_vllm.streams import drafter_streams\n\n"
    "        self.drafter_streams = drafter_streams(vllm_config)\n",
)
HAND_OVER: Final = (
    "aux_recon.mean(dim=1)",
    "(  # specdec-vllm: every stream, side by side\n"
    "                    aux_recon.flatten(1) if self.drafter_streams > 1 else aux_recon.mean(dim=1)\n"
    "                )",
)
NVIDIA: Final = "models/deepseek_v4/nvidia/model.py"
CPU: Final = "models/deepseek_v4/cpu/model.py"

TARGET_KNOWS_DRAFTER: Final = SourcePatch(
    name="b-target-knows-drafter",
    path=NVIDIA,
    function="DeepseekV4Model.__init__",
    digests={
        "0.32.0": "5c3068763c6c240ebcd702cc913891f8bc7ffb7ad905974eefb0fa65272b37ac",
        "0.33.0": "5d214c7cd906be7a32701ff68d2a610ee02e27503be13dcda4f488accca803fa",
    },
    changes=(KNOW_DRAFTER,),
)
TARGET_STREAMS: Final = SourcePatch(
    name="b-target-streams",
    path=NVIDIA,
    function="DeepseekV4Model.forward",
    digests={
        "0.32.0": "64b2821f96b712479654675a429f3796bf8243f81f05037e9c6e30c0800d5779",
        "0.33.0": "64b2821f96b712479654675a429f3796bf8243f81f05037e9c6e30c0800d5779",
    },
    changes=(HAND_OVER,),
)
CPU_TARGET_KNOWS_DRAFTER: Final = SourcePatch(
    name="b-cpu-target-knows-drafter",
    path=CPU,
    function="DeepseekV4Model.__init__",
    digests={
        "0.32.0": "6f749a376a763f668a3a09f61ee433c4ccb79cf34a73e232964db01e27635f46",
        "0.33.0": "6f749a376a763f668a3a09f61ee433c4ccb79cf34a73e232964db01e27635f46",
    },
    changes=(KNOW_DRAFTER,),
)
CPU_TARGET_STREAMS: Final = SourcePatch(
    name="b-cpu-target-streams",
    path=CPU,
    function="DeepseekV4Model.forward",
    digests={
        "0.32.0": "5d6aa4b24d10d5b123bfa36d122a9518d84704b1a9ebb154030331a1bb06b0f5",
        "0.33.0": "5d6aa4b24d10d5b123bfa36d122a9518d84704b1a9ebb154030331a1bb06b0f5",
    },
    changes=(HAND_OVER,),
)

DRAFTER_BUFFER: Final = SourcePatch(
    name="c-drafter-buffer",
    path="v1/worker/gpu/spec_decode/speculator.py",
    function="DraftModelSpeculator.__init__",
    digests={
        "0.32.0": "7b3e5af9da6198a2edd47086998182c2f7bc483d7a56ee5d804c2bc53ac20c05",
        "0.33.0": "1d68cf15a7d0e007024511847d8c7be117de8b1d446c0ab562380d2f903c5a16",
    },
    changes=(
        (
            "        if _target_feeds_hc_residual(vllm_config):\n",
            "        # specdec-vllm: DFlash stores what its fusion layer made of the streams, one of them wide\n"
            "        if _target_feeds_hc_residual(vllm_config) and not self.speculative_config.use_dflash():\n",
        ),
    ),
)

STAGED_STATES: Final = SourcePatch(
    name="d-staged-states",
    path="v1/worker/gpu/spec_decode/dflash/speculator.py",
    function="DFlashSpeculator.__init__",
    digests={"0.33.0": "9b453ba6f05175820ff4bf5f9ce87ee3be902f5bbecb15fbe7db7f194d0de11b"},
    changes=(
        (
            "len(aux_layers) * vllm_config.model_config.get_hidden_size(),",
            "len(aux_layers) * drafter_width(vllm_config),",
        ),
        (
            "        aux_layers = get_eagle3_aux_layers_from_config(speculative_config)\n",
            "        # specdec-vllm: staged states are as wide as the streams that the drafter reads\n"
            "        from specdec_vllm.streams import drafter_width\n\n"
            "        aux_layers = get_eagle3_aux_layers_from_config(speculative_config)\n",
        ),
    ),
)

PATCHES: Final = (
    FUSION_INPUT,
    TARGET_KNOWS_DRAFTER,
    TARGET_STREAMS,
    CPU_TARGET_KNOWS_DRAFTER,
    CPU_TARGET_STREAMS,
    DRAFTER_BUFFER,
    STAGED_STATES,
)
