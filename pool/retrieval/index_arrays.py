"""What the index holds, as arrays that only ever grow: scenarios with their personas, personas, and their value texts.

Each is addressed by the row at which it came; texts are held as digests. Knows arrays and nearest neighbours; knows
neither SQL nor the encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from ethos.encoders.embedder import Vectors
from ethos.persona import ATTRIBUTES
from ethos.pool.retrieval.growing_array import Growing
from ethos.pool.retrieval.neighbours import Nearest
from ethos.pool.retrieval.selection import slots
from ethos.pool.retrieval.snapshot import Arrays
from ethos.text.cleaning import short_digest

ID = "S32"  # how ids are held: as bytes
VALUES = 2  # texts that say what a persona stands for: its core value and its right/duty


class Scenarios:
    """The scenarios that have personas, or had some.

    Attributes:
        ids: By row.
        row: By id.
        links: Rows of each one's active personas.
        emptied: Rows of those without any.
        situations: Of each a number for the text of its situation.
        nearest: Their vectors.
    """

    def __init__(self) -> None:
        self.ids = Growing((), ID)
        self.row: dict[str, int] = {}
        self.links: list[list[int]] = []
        self.emptied: set[int] = set()
        self.situations = Growing((), np.uint64)
        self.nearest = Nearest()

    def arrays(self) -> Arrays:
        """All there is, for a snapshot."""
        linked = np.array([len(held) for held in self.links])
        links = np.fromiter(chain.from_iterable(self.links), dtype=np.int64)
        own = {"ids": self.ids.rows, "situations": self.situations.rows, "linked": linked, "links": links}
        return own | self.nearest.arrays()

    @classmethod
    def of(cls, arrays: Arrays) -> Scenarios:
        """From `arrays`."""
        made = cls()
        made.ids.extend(arrays["ids"])
        made.situations.extend(arrays["situations"])
        made.row = _rows(arrays["ids"])
        links, ends = arrays["links"].tolist(), np.cumsum(arrays["linked"]).tolist()
        made.links = [links[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        made.emptied = {row for row, held in enumerate(made.links) if not held}
        made.nearest = Nearest.of(arrays)
        return made

    def add(self, situations: dict[str, str], vectors: dict[str, Vectors]) -> None:
        """Take in new scenarios by id."""
        if not situations:
            return
        self.row |= {scenario_id: row for row, scenario_id in enumerate(situations, start=len(self.ids))}
        self.ids.extend(list(situations))
        self.links += [[] for _ in situations]
        self.situations.extend([short_digest(text) for text in situations.values()])
        self.nearest.add(np.stack([vectors[text] for text in situations.values()]))

    def follow(self, added: bool, persona: int, scenario_id: str) -> None:
        """Link a persona's row to a scenario, or unlink it."""
        row = self.row[scenario_id]
        held = self.links[row]
        held.append(persona) if added else held.remove(persona)
        self.emptied.discard(row) if held else self.emptied.add(row)

    def copies(self, situation: str) -> list[int]:
        """Rows of the scenarios with exactly this situation; their options may differ."""
        return list(map(int, np.flatnonzero(self.situations.rows == short_digest(situation))))


class Personas:
    """The personas of the scenarios.

    Attributes:
        ids: By row.
        row: By id.
        slots: Numbers of their attributes, (personas, 6).
        values: Rows of their two values, (personas, 2).
    """

    def __init__(self) -> None:
        self.ids = Growing((), ID)
        self.row: dict[str, int] = {}
        self.slots = Growing((len(ATTRIBUTES),), np.uint64)
        self.values = Growing((VALUES,), np.int64)

    def arrays(self) -> Arrays:
        """All there is, for a snapshot."""
        return {"ids": self.ids.rows, "slots": self.slots.rows, "values": self.values.rows}

    @classmethod
    def of(cls, arrays: Arrays) -> Personas:
        """From `arrays`."""
        made = cls()
        made.ids.extend(arrays["ids"])
        made.slots.extend(arrays["slots"])
        made.values.extend(arrays["values"])
        made.row = _rows(arrays["ids"])
        return made

    def add(self, personas: dict[str, tuple[str, ...]], values: Sequence[tuple[int, int]]) -> None:
        """Take in the texts of new personas by id, with the rows of their values."""
        if not personas:
            return
        self.row |= {persona_id: row for row, persona_id in enumerate(personas, start=len(self.ids))}
        self.ids.extend(list(personas))
        self.slots.extend(slots(personas.values()))
        self.values.extend(values)


class Values:
    """The value texts of the personas, each held once.

    Attributes:
        row: By the text's digest.
        digests: Of the texts, (texts,).
        vectors: Unit rows, float32, (texts, dimensions).
        holders: For each the row of a persona whose text it is, and 1 if it is its right/duty, (texts, 2).
    """

    def __init__(self) -> None:
        self.row: dict[int, int] = {}
        self.digests = Growing((), np.uint64)
        self.vectors = Growing((0,), np.float32)
        self.holders = Growing((2,), np.int64)
        self._people = 0

    def arrays(self) -> Arrays:
        """All there is, for a snapshot."""
        return {"digests": self.digests.rows, "vectors": self.vectors.rows, "holders": self.holders.rows}

    @classmethod
    def of(cls, arrays: Arrays, personas: int) -> Values:
        """From `arrays`, of this many personas."""
        made = cls()
        made.digests.extend(arrays["digests"])
        made.vectors = Growing(arrays["vectors"].shape[1:], np.float32)
        made.vectors.extend(arrays["vectors"])
        made.holders.extend(arrays["holders"])
        made.row = dict(zip(arrays["digests"].tolist(), range(len(arrays["digests"])), strict=True))
        made._people = personas
        return made

    def add(self, pairs: Sequence[tuple[str, str]], vectors: dict[str, Vectors]) -> list[tuple[int, int]]:
        """Take in the values of new personas, who get the rows after those before; the rows of their values."""
        if not len(self.vectors) and vectors:
            self.vectors = Growing(next(iter(vectors.values())).shape, np.float32)
        row_of: dict[str, int] = {}
        new: dict[int, str] = {}
        holders: list[tuple[int, int]] = []
        for person, pair in enumerate(pairs, start=self._people):
            for duty, text in enumerate(pair):
                if text not in row_of:
                    number = short_digest(text)
                    if number not in self.row:
                        self.row[number] = len(self.row)
                        new[number] = text
                        holders.append((person, duty))
                    row_of[text] = self.row[number]
        if new:
            self.digests.extend(list(new))
            self.holders.extend(holders)
            self.vectors.extend(np.stack([vectors[text] for text in new.values()]))
        self._people += len(pairs)
        return [(row_of[core], row_of[right]) for core, right in pairs]

    def distinct(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The rows that there are, each once, and in the shape given the place of each among them.

        In the order of their texts' digests, not of their coming: who came first must not settle a tie.
        """
        _, first, place = np.unique(self.digests.rows[rows], return_index=True, return_inverse=True)
        return rows.ravel()[first], place.reshape(rows.shape)


def _rows(ids: NDArray[np.bytes_]) -> dict[str, int]:
    return dict(zip(ids.astype(str).tolist(), range(len(ids)), strict=True))
