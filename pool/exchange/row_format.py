"""What is exchanged between pools: the keys of a row, the limits on rows and files, and where rows come from.

Plain values; knows neither tables nor any file format, and imports next to nothing, since the process that unpacks
foreign files needs it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from ethos.persona import ATTRIBUTES

MAX_ROWS = 5_000_000
MAX_FILE_BYTES = 2 * 2**30
MAX_UNPACKED_BYTES = 4 * MAX_FILE_BYTES
# The longest row that a pool can hold fits: a situation of 20,000 characters and 26 options of 1,000, of four bytes.
MAX_LINE_BYTES = 256 * 2**10
MAX_NOTE_CHARACTERS = 1_000  # of a source, licence, model or prompt set
MAX_PANEL = 32  # as `ethos.pipeline.settings.MAX_K`

MODEL = ("model", "model_revision", "model_precision")
NOTES = (*MODEL, "prompt_set", "source", "licence")
VECTORS = ("scenario", "core_value", "right_duty")  # the texts that an index holds vectors of
KEYS = ("persona_id", *ATTRIBUTES, "scenario", "options", "kind", *NOTES, "seed", "status", "panels")

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """One row as it was found.

    Attributes:
        place: Where, for messages: "line 3".
        record: Its keys and values; None if it cannot be read at all.
        cause: Why it cannot be.
    """

    place: str
    record: Record | None
    cause: str = ""


class Source(Protocol):
    """Something that rows come from."""

    @property
    def name(self) -> str:
        """What imported personas are said to come from, unless the caller says otherwise."""

    @property
    def embedder_id(self) -> str:
        """Identity of what encoded the rows' vectors, as the source claims; empty if it claims nothing."""

    def entries(self) -> Iterator[Entry]:
        """All rows, in order, from the beginning each time.

        Raises:
            InputError: The source as a whole cannot be read.
        """
