"""What a sweep compares: K = 0 to 7, a given schedule, or the operator's own choice."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from specdec.api.schedule import Schedule, ScheduleError, Tier, constant

MAX_K: Final = 7
AUTO: Final = "auto"
_NAME: Final = re.compile(r"^[A-Za-z0-9_-]+$")


class ArmError(Exception):
    """An arm that cannot be read or put in force; the message names the remedy."""


@dataclass(frozen=True, slots=True)
class Arm:
    """name: as in files and plots. tiers: inclusive batch sizes and K. k None and no tiers: the operator chooses."""

    name: str
    k: int | None = None
    tiers: tuple[Tier, ...] = ()

    def schedule(self, max_batch: int) -> Schedule:
        """Cut or stretched to `max_batch`. Raises ArmError for Auto."""
        if self.k is not None:
            return constant(self.k, max_batch)
        if not self.tiers:
            raise ArmError(f"arm {self.name} is the operator's choice and needs --resource")
        kept = [tier for tier in self.tiers if tier.from_batch <= max_batch]
        return Schedule((*kept[:-1], Tier(kept[-1].from_batch, max_batch, kept[-1].num_speculative_tokens)))


def parse_arms(text: str) -> tuple[Arm, ...]:
    """`0-7,auto,mine=schedule.json`: single K, ranges of K, `auto`, and files with the contract's `entries`."""
    arms = tuple(arm for part in text.split(",") if part.strip() for arm in _parse(part.strip()))
    names = [arm.name for arm in arms]
    if not arms or len(set(names)) != len(names):
        raise ArmError(f"--arms {text!r}: give at least one arm, and none twice")
    return arms


def _parse(part: str) -> list[Arm]:
    if part == AUTO:
        return [Arm(AUTO)]
    if found := re.fullmatch(r"(\d+)(?:-(\d+))?", part):
        first, last = int(found[1]), int(found[2] or found[1])
        if not first <= last <= MAX_K:
            raise ArmError(f"--arms: {part!r} is not within 0-{MAX_K}")
        return [Arm(f"K{k}", k=k) for k in range(first, last + 1)]
    name, equals, file = part.partition("=")
    if not equals or not _NAME.match(name):
        raise ArmError(f"--arms: cannot read {part!r}; write for example 0-7,auto,mine=schedule.json")
    return [Arm(name, tiers=_tiers(Path(file)))]


def _tiers(file: Path) -> tuple[Tier, ...]:
    try:
        entries = json.loads(file.read_text())["entries"]
        tiers = tuple(Tier(e["fromBatch"], e["toBatch"], e["numSpeculativeTokens"]) for e in entries)
        return Schedule(tiers).tiers
    except (OSError, ValueError, KeyError, TypeError, ScheduleError) as error:
        raise ArmError(
            f"{file} is no schedule (an object with 'entries', see docs/engine-contract.md): {error}"
        ) from error
