"""What is asked for: the built-in scenarios, their lengths and the acceptance domain that their text belongs to."""

from __future__ import annotations

from random import Random
from typing import Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

Style: TypeAlias = Literal["chat", "code", "math", "hard", "longContext", "agent"]


class Strict(BaseModel):
    """Immutable, camelCase in files, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Lengths(Strict):
    """Log-normal token counts around `median`, clipped to `least` and `most`; `spread` is sigma of the logarithm."""

    median: int = Field(gt=0)
    spread: float = Field(default=0.3, ge=0, le=3)
    least: int = Field(default=1, gt=0)
    most: int = Field(default=1_000_000, gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> Lengths:
        if not self.least <= self.median <= self.most:
            raise ValueError(f"least <= median <= most must hold, got {self.least}, {self.median}, {self.most}")
        return self

    def draw(self, chance: Random) -> int:
        """One length in tokens."""
        return round(min(max(chance.lognormvariate(0.0, self.spread) * self.median, self.least), self.most))


class Scenario(Strict):
    """One kind of request. `domain` goes out as a header, so that a simulator can answer with that domain's acceptance.

    tool_choice: for the style `agent`; `auto` needs an engine started with `--enable-auto-tool-choice`.
    """

    style: Style
    domain: str = Field(min_length=1, max_length=40, pattern=r"^[a-zA-Z0-9._-]+$")
    prompt: Lengths
    output: Lengths
    tool_choice: Literal["none", "auto"] = "none"


BUILT_IN: Final[dict[str, Scenario]] = {
    "chat": Scenario(
        style="chat",
        domain="chat",
        prompt=Lengths(median=80, spread=0.5, least=8, most=1000),
        output=Lengths(median=180, spread=0.4, least=16, most=800),
    ),
    "code": Scenario(
        style="code",
        domain="code",
        prompt=Lengths(median=250, spread=0.5, least=20, most=3000),
        output=Lengths(median=260, spread=0.4, least=32, most=1000),
    ),
    "math": Scenario(
        style="math",
        domain="math",
        prompt=Lengths(median=70, spread=0.3, least=16, most=400),
        output=Lengths(median=300, spread=0.4, least=48, most=1200),
    ),
    "hard": Scenario(
        style="hard",
        domain="hard",
        prompt=Lengths(median=120, spread=0.4, least=16, most=1000),
        output=Lengths(median=200, spread=0.4, least=32, most=800),
    ),
    "longContext": Scenario(
        style="longContext",
        domain="chat",
        prompt=Lengths(median=6000, spread=0.3, least=2000, most=12000),
        output=Lengths(median=160, spread=0.3, least=32, most=400),
    ),
    "agent": Scenario(
        style="agent",
        domain="code",
        prompt=Lengths(median=1500, spread=0.4, least=300, most=6000),
        output=Lengths(median=90, spread=0.5, least=16, most=400),
    ),
}
