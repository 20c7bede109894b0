"""What the model card of the drafter states, to stand beside what was measured.

Source: model card of RedHatAI/DeepSeek-V4-Flash-speculator.dflash. The card's mean length of 3.9 reads its
per-position figures as cumulative; read as accuracies given a true prefix, their running product gives about 2.6.
"""

from __future__ import annotations

from itertools import accumulate
from operator import mul
from typing import Final

SPECULATOR: Final = "RedHatAI/DeepSeek-V4-Flash-speculator.dflash"
PER_POSITION: Final = (0.788, 0.588, 0.454, 0.359, 0.29, 0.236, 0.193)
MEAN_ACCEPTED_LENGTH: Final = 1 + sum(PER_POSITION)
AS_PRODUCT: Final = tuple(accumulate(PER_POSITION, mul))
MEAN_ACCEPTED_LENGTH_AS_PRODUCT: Final = 1 + sum(AS_PRODUCT)
