"""The simulator's own knobs, from the environment: SPECDEC_SIM_*, listed in images/simulator/README.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from specdec_simulator import acceptance, costs

PREFIX: Final = "SPECDEC_SIM_"
CONTROL_FILE_VARIABLE: Final = "SPECDEC_CONTROL_TOKEN_FILE"
DEFAULT_MIX: Final = {"card-cumulative": 1.0}
DEFAULT_KV_TOKENS: Final = 2_097_152
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"", "0", "false", "no", "off"})


class SettingsError(ValueError):
    """A knob that cannot be; the message names the variable."""


@dataclass(frozen=True, slots=True)
class Settings:
    """costs_file, profiles_file: see `costs` and `acceptance`. mix: domain -> share of the requests that name none.

    spread: standard deviation between requests of one domain, in logits. time_scale: 2.0 makes every step last twice as
    long. kv_tokens: size of the KV cache. output_tokens: mean length of an answer whose request sets no limit.
    start_seconds: how long the port stays closed. contract: offer docs/engine-contract.md, else look like stock vLLM.
    faults: serve the test-only endpoint. token_file: holds the control token.
    """

    costs_file: Path = costs.DEFAULT_COSTS
    profiles_file: Path = acceptance.DEFAULT_PROFILES
    mix: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_MIX))
    spread: float = 0.0
    seed: int = 0
    start_seconds: float = 0.0
    time_scale: float = 1.0
    kv_tokens: int = DEFAULT_KV_TOKENS
    output_tokens: int = 256
    contract: bool = True
    faults: bool = False
    token_file: Path | None = None


def read(environment: Mapping[str, str]) -> Settings:
    """Settings from the variables SPECDEC_SIM_*; raises SettingsError, also for one that does not exist."""
    reader = _Reader(environment)
    token_file = environment.get(CONTROL_FILE_VARIABLE)
    settings = Settings(
        costs_file=Path(reader.text("COSTS", str(costs.DEFAULT_COSTS))),
        profiles_file=Path(reader.text("PROFILES", str(acceptance.DEFAULT_PROFILES))),
        mix=parse_mix(reader.text("MIX", "")) or DEFAULT_MIX,
        spread=reader.number("SPREAD", 0.0),
        seed=int(reader.number("SEED", 0)),
        start_seconds=reader.number("START_SECONDS", 0.0),
        time_scale=reader.number("TIME_SCALE", 1.0),
        kv_tokens=int(reader.number("KV_TOKENS", DEFAULT_KV_TOKENS)),
        output_tokens=int(reader.number("OUTPUT_TOKENS", 256)),
        contract=reader.switch("CONTRACT", default=True),
        faults=reader.switch("FAULTS", default=False),
        token_file=Path(token_file) if token_file else None,
    )
    reader.refuse_unknown()
    if settings.time_scale <= 0:
        raise SettingsError(f"{PREFIX}TIME_SCALE must be above 0")
    return settings


def parse_mix(text: str) -> dict[str, float]:
    """`chat=0.5,code=0.5` or just `chat`."""
    mix: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, share = part.partition("=")
        try:
            mix[name.strip()] = float(share) if share else 1.0
        except ValueError as error:
            raise SettingsError(f"{PREFIX}MIX: {part!r} is not domain=share") from error
    return mix


class _Reader:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._left = {name: text for name, text in environment.items() if name.startswith(PREFIX)}

    def text(self, name: str, default: str) -> str:
        return self._left.pop(PREFIX + name, default)

    def number(self, name: str, default: float) -> float:
        text = self.text(name, "")
        if not text:
            return default
        try:
            value = float(text)
        except ValueError as error:
            raise SettingsError(f"{PREFIX}{name} must be a number, not {text!r}") from error
        if not 0 <= value < float("inf"):
            raise SettingsError(f"{PREFIX}{name} must not be negative")
        return value

    def switch(self, name: str, *, default: bool) -> bool:
        text = self.text(name, str(int(default))).lower()
        if text not in _TRUE | _FALSE:
            raise SettingsError(f"{PREFIX}{name} must be 0 or 1, not {text!r}")
        return text in _TRUE

    def refuse_unknown(self) -> None:
        if self._left:
            raise SettingsError(f"unknown settings {', '.join(sorted(self._left))}; see images/simulator/README.md")
