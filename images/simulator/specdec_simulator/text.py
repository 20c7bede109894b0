"""The words that the simulator answers with: one token is one word, and any run of them is ready as JSON-safe bytes."""

from __future__ import annotations

from typing import Final

_WORDS: Final = (
    b"the draft runs ahead and the target checks each word it keeps what agrees drops what does not then adds one"
    b" of its own so a good guess saves a step while a bad one costs a little more work for every row in the batch"
).split()
_LAP: Final = 4096
_LONGEST: Final = 64


def _corpus() -> tuple[bytes, tuple[int, ...]]:
    parts, starts, at = [], [], 0
    for place in range(_LAP + _LONGEST + 1):
        index = place % _LAP
        word = b" " + _WORDS[(index * 7 + index // 41) % len(_WORDS)]
        starts.append(at)
        parts.append(word)
        at += len(word)
    return b"".join(parts), tuple(starts)


_TEXT, _STARTS = _corpus()


def words(first: int, count: int) -> bytes:
    """`count` tokens of an endless text from token `first` on."""
    if count <= _LONGEST:
        begin = first % _LAP
        return _TEXT[_STARTS[begin] : _STARTS[begin + count]]
    return b"".join(words(at, min(_LONGEST, first + count - at)) for at in range(first, first + count, _LONGEST))
