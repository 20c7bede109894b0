"""Prompts from a seed: plain text of a scenario's style with a controlled length.

The words are short and common, so most tokenizers make one token of each; the true prompt length comes from usage and
is recorded with every request. Content is nonsense on purpose: what matters is length, style and that it never repeats.
"""

from __future__ import annotations

from random import Random
from typing import Any, Final

from loadtests.plan import Plan
from loadtests.scenarios import Style
from loadtests.sequence import PlannedRequest

_COMMON: Final = (
    "the and with from this that when then over under after before into about each some more most first last next "
    "same other small large long short good new old early late open close high low near far left right full light"
)
_OWN: Final[dict[Style, str]] = {
    "chat": "day home friend city food music trip week plan house garden work book film river winter family market",
    "code": "def return if else for in while class self list dict value index loop test file line call name type",
    "math": "sum product number prime factor angle root square equal less greater proof even odd ratio limit set",
    "hard": "law paradox court treaty poem irony motive theory claim doubt premise canon exile myth ritual debt",
    "longContext": "section report table figure record page chapter note source appendix region year total rate",
    "agent": "search open read write result page error retry step plan tool query answer file path user state",
}
_WORDS: Final = {style: f"{_COMMON} {own}".split() for style, own in _OWN.items()}
_ASK: Final[dict[Style, str]] = {
    "chat": "Tell me what you make of this:",
    "code": "Complete the following function and explain it:",
    "math": "Solve this step by step:",
    "hard": "Discuss the strongest objection to this:",
    "longContext": "Read the document and answer the question at its end.",
    "agent": "Decide on the next action from what the tools returned.",
}
_TOOLS: Final = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"{name} in the workspace",
            "parameters": {
                "type": "object",
                "properties": {"target": {"type": "string"}, "limit": {"type": "integer"}},
                "required": ["target"],
            },
        },
    }
    for name in ("search", "open_file", "run_query")
]
_OVERHEAD_TOKENS: Final = 12


def text(style: Style, tokens: int, seed: int) -> str:
    """About `tokens` tokens; equal for equal arguments, and different from the first words on for different seeds."""
    chance = Random(seed)
    words = chance.choices(_WORDS[style], k=max(1, tokens - _OVERHEAD_TOKENS))
    for end in range(11, len(words), 12):
        words[end] += "."
    return f"{_ASK[style]} {' '.join(words)}"


def body(plan: Plan, request: PlannedRequest, model: str, salt: str) -> dict[str, Any]:
    """The JSON body of a streaming request. salt: keeps runs out of each other's prefix cache."""
    scenario = plan.scenario(request.scenario)
    content: dict[str, Any] = {
        "model": model,
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": request.output_tokens,
        "temperature": plan.temperature,
        "seed": request.seed,
    }
    if plan.per_chunk_usage:
        content["stream_options"]["continuous_usage_stats"] = True
    if plan.vllm_extensions:
        content |= {"ignore_eos": True, "min_tokens": request.output_tokens, "cache_salt": salt}
    prompt = text(scenario.style, request.prompt_tokens, request.seed)
    if plan.api == "completions":
        return content | {"prompt": prompt}
    if scenario.style == "agent":
        return content | {"messages": _conversation(prompt), "tools": _TOOLS, "tool_choice": scenario.tool_choice}
    return content | {"messages": [{"role": "user", "content": prompt}]}


def _conversation(prompt: str) -> list[dict[str, Any]]:
    """An agent in the middle of its work: a tool was called, its long result came back."""
    call = {"id": "call-1", "type": "function", "function": {"name": "search", "arguments": '{"target": "notes"}'}}
    return [
        {"role": "system", "content": "You work in small steps and use the tools."},
        {"role": "user", "content": "Find out what changed and say what to do next."},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call-1", "content": prompt},
    ]
