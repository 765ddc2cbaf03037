"""Guess the next tokens of a text from the last occurrence of its latest words.

A summary repeats what it sums up, and JSON its names. A model reads several tokens about as fast as one, so a guess
costs it little, and each token that it would have written itself is one step less (prompt lookup decoding, Saxena
2023). Knows token ids alone.
"""

from __future__ import annotations

from collections.abc import Iterable

_LONGEST = 3  # tokens that are looked for, then fewer: the more of them are the same, the better the guess
_GUESSED = 7  # tokens; more are rarely right to their end


class Lookup:
    """A text that grows, and where each of its short sequences was last followed by what."""

    def __init__(self) -> None:
        self._text: list[int] = []
        self._followed: dict[tuple[int, ...], int] = {}

    def add(self, tokens: Iterable[int]) -> None:
        """Let the text go on with these."""
        for token in tokens:
            end = len(self._text)
            for size in range(1, min(_LONGEST, end) + 1):
                self._followed[tuple(self._text[end - size :])] = end
            self._text.append(token)

    def guess(self) -> list[int]:
        """What may come next; nothing where even the last token is new."""
        for size in range(min(_LONGEST, len(self._text)), 0, -1):
            if (begin := self._followed.get(tuple(self._text[-size:]))) is not None:
                return self._text[begin : begin + _GUESSED]
        return []
