"""Which vLLM releases these plugins were checked against. Anything else is refused, never half-supported in silence."""

from __future__ import annotations

from typing import Final

TESTED: Final = ("0.32.0", "0.33.0")


class UntestedRelease(RuntimeError):
    """This vLLM was never checked against these plugins."""


def release(version: str) -> str:
    """The release in `version`, a tested one; a local label such as `+cpu` does not matter.

    Raises UntestedRelease, which names the tested ones.
    """
    public = version.partition("+")[0]
    if public not in TESTED:
        raise UntestedRelease(
            f"specdec-vllm reaches into vLLM's internals and was not checked against vLLM {version}. "
            f"Use one of {', '.join(TESTED)}, or a newer specdec-vllm."
        )
    return public
