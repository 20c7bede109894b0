"""What a live endpoint says of itself, for tests that stand in for one."""

from __future__ import annotations

from typing import Any

from specdec.engine.speculation import API_VERSION, Speculation


def speculation(schedule: Any, max_batch: int) -> Speculation:
    """An engine started at K = 7 with `schedule` in force."""
    return Speculation.model_validate(
        {
            "apiVersion": API_VERSION,
            "engine": {"name": "vllm", "version": "0"},
            "method": "dflash",
            "startNumSpeculativeTokens": 7,
            "limits": {"minNumSpeculativeTokens": 0, "maxNumSpeculativeTokens": 7, "maxBatch": max_batch},
            "schedule": schedule,
        }
    )
