"""Streaming of a text while it is written. Knows text only."""

from __future__ import annotations

from collections.abc import Callable

OnText = Callable[[str], None]

_UNFINISHED = "\ufffd"  # what the first bytes of a character decode to


class Streamer:
    """Pass on the new part of a growing text; joined, the pieces are the text without surrounding space.

    Space at the end waits until something follows it, and a character until all its bytes are there.
    """

    def __init__(self, on_text: OnText) -> None:
        self._on_text = on_text
        self._sent = 0

    def grow(self, text: str) -> None:
        """The text so far, from its start."""
        self.end(text.rstrip(_UNFINISHED).strip())

    def end(self, text: str) -> None:
        """The text as it stays, without the space around it."""
        if piece := text[self._sent :]:
            self._sent = len(text)
            self._on_text(piece)
