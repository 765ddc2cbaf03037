"""The vector index: which scenarios are near, and which personas were made for them.

Derived from SQL and kept in memory; before every query it catches up with what any process has added since. Built
from SQL when it is opened: exact, and at up to 200,000 vectors quicker than reading a file (notes/platform.md 1.2).
Knows the store and FAISS; knows nothing of how a panel is chosen.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ethos.embedding import Embedder, Vectors
from ethos.persona import Persona
from ethos.pool.demand import values_at_stake
from ethos.pool.selection import Candidate, Slots
from ethos.pool.store import Store
from ethos.pool.threads import one_thread
from ethos.pool.vectors import VectorStore

NEIGHBOURS = 200


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """What a pool holds around a situation.

    Attributes:
        candidates: One a persona.
        texts: The candidates' value texts.
        vectors: Their unit rows, float32, (values, dimensions).
        stakes: How much each value is at stake in the situation, summing to 1.
    """

    candidates: tuple[Candidate, ...]
    texts: tuple[str, ...]
    vectors: Vectors
    stakes: NDArray[np.float64]


NOTHING = Neighbourhood((), (), np.empty((0, 0), dtype=np.float32), np.empty(0))


class ScenarioIndex:
    """Nearest scenarios by meaning, with their personas.

    Args:
        store: The truth about personas.
        vectors: The truth about vectors.
        embedder: Encodes scenarios and values; vectors missing for it are made and stored when they are needed.
    """

    def __init__(self, store: Store, vectors: VectorStore, embedder: Embedder) -> None:
        self._store = store
        self._stored = vectors
        self._embedder = embedder
        self._mark = 0
        self._rows: dict[str, int] = {}  # of personas, by id
        self._personas: list[Persona] = []
        self._slots = Slots()
        self._slot_rows: list[tuple[int, ...]] = []
        self._links: dict[str, list[int]] = {}  # persona rows by scenario, in commit order
        self._situations: dict[str, str] = {}
        self._order: list[str] = []
        self._emptied: set[str] = set()
        self._values = _Texts()
        self._faiss: Any = None
        self.encoding_seconds = 0.0  # spent in the encoder so far, to tell it from the search

    def nearest(self, situation: str, without: str = "") -> Neighbourhood:
        """What the pool holds around a situation; empty for an empty pool.

        Args:
            situation: Its text.
            without: A situation to leave out, for those who ask what the pool would give if it did not have it.
        """
        self.catch_up()
        if self._faiss is None:
            return NOTHING
        query = self.vectors([situation])[situation]
        out = self._emptied | self._copies(without)
        # Those left out must not take the place of others.
        count = min(NEIGHBOURS + len(out), len(self._order))
        similarities, positions = self._faiss.search(query[None, :], count)
        near = {
            self._order[p]: (min(float(s), 1.0), int(p))
            for s, p in zip(similarities[0], positions[0], strict=True)
            if self._order[p] not in out
        }
        near = dict(list(near.items())[:NEIGHBOURS])
        if not near:
            return NOTHING
        scenarios = self._faiss.reconstruct_batch(np.array([position for _, position in near.values()]))
        return self._around(query, scenarios, {scenario_id: score for scenario_id, (score, _) in near.items()})

    def _copies(self, situation: str) -> set[str]:
        """The scenarios with exactly this situation; their options may differ."""
        if not situation:
            return set()
        return {scenario_id for scenario_id, text in self._situations.items() if text == situation}

    def scenarios(self) -> dict[str, list[Persona]]:
        """The personas of every situation that has active ones."""
        self.catch_up()
        found: dict[str, list[Persona]] = {}
        for scenario_id, rows in self._links.items():
            found.setdefault(self._situations[scenario_id], []).extend(self._personas[row] for row in rows)
        return {situation: personas for situation, personas in found.items() if personas}

    def _around(self, query: Vectors, scenarios: Vectors, near: dict[str, float]) -> Neighbourhood:
        """Candidates of the near scenarios, with the relevance of the nearest one each was made for."""
        held = [self._links[scenario_id] for scenario_id in near]
        rows, first, inverse = np.unique(np.concatenate(held), return_index=True, return_inverse=True)
        # Scenarios come nearest first, so a persona's first mention is in the nearest it was made for.
        scenario_of = np.repeat(np.arange(len(held)), [len(some) for some in held])
        values, owned = np.unique(self._values.pairs[rows], return_inverse=True)
        owned = owned.reshape(-1, 2)
        found = np.zeros((len(held), len(values)))
        found[np.repeat(scenario_of, 2), owned[inverse].ravel()] = 1.0
        vectors = self._values.vectors[values]
        names, similarities = list(near), list(near.values())
        candidates = tuple(
            Candidate(self._personas[row], similarities[s], self._situations[names[s]], (a, b), self._slot_rows[row])
            for row, s, (a, b) in zip(rows.tolist(), scenario_of[first].tolist(), owned.tolist(), strict=True)
        )
        texts = tuple(self._values.texts[row] for row in values.tolist())
        with one_thread():
            stakes = values_at_stake(query, scenarios, found, vectors)
        return Neighbourhood(candidates, texts, vectors, stakes)

    def catch_up(self) -> None:
        """Take in what SQL has beyond this index; microseconds when there is nothing new."""
        if self._store.mark() == self._mark:
            return
        import faiss  # late: a stored panel needs no index

        changes, mark = self._store.changes(above=self._mark)
        added = [change.link for change in changes if change.added]
        vectors = self.vectors(text for link in added for text in (link.situation, *_values(link.persona)))
        new = {link.scenario_id: link.situation for link in added if link.scenario_id not in self._links}
        self._add_personas({link.persona.id: link.persona for link in added}, vectors)
        for change in changes:
            rows = self._links.setdefault(change.link.scenario_id, [])
            row = self._rows[change.link.persona.id]
            rows.append(row) if change.added else rows.remove(row)
        self._emptied = {scenario_id for scenario_id, rows in self._links.items() if not rows}
        if new:
            matrix = np.stack([vectors[situation] for situation in new.values()])
            if self._faiss is None:
                self._faiss = faiss.IndexFlatIP(matrix.shape[1])
            self._faiss.add(matrix)
            self._situations |= new
            self._order += new
        self._mark = mark

    def _add_personas(self, personas: dict[str, Persona], vectors: dict[str, Vectors]) -> None:
        new = [persona for persona_id, persona in personas.items() if persona_id not in self._rows]
        for persona in new:
            self._rows[persona.id] = len(self._personas)
            self._personas.append(persona)
            self._slot_rows.append(self._slots.of(persona))
        self._values.add([_values(persona) for persona in new], vectors)

    def vectors(self, texts: Iterable[str]) -> dict[str, Vectors]:
        """Vectors of texts: from the store, or made now and stored for the next time."""
        wanted = list(dict.fromkeys(texts))
        found = self._stored.get(self._embedder.identity, wanted)
        if missing := [text for text in wanted if text not in found]:
            started = time.perf_counter()
            made = dict(zip(missing, self._embedder.encode(missing), strict=True))
            self.encoding_seconds += time.perf_counter() - started
            self._stored.put(self._embedder.identity, made)
            found |= made
        return found


class _Texts:
    """The value texts of the personas, each held once, in rows that only ever grow.

    Attributes:
        texts: In order of their rows.
        vectors: Their unit rows, float32, (texts, dimensions).
        pairs: For each persona the rows of its two, (personas, 2).
    """

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.vectors: Vectors = np.empty((0, 0), dtype=np.float32)
        self.pairs: NDArray[np.int64] = np.empty((0, 2), dtype=np.int64)
        self._row: dict[str, int] = {}

    def add(self, pairs: list[tuple[str, str]], vectors: dict[str, Vectors]) -> None:
        """Take in the two texts of each new persona."""
        if not pairs:
            return
        new = [text for text in dict.fromkeys(text for pair in pairs for text in pair) if text not in self._row]
        for text in new:
            self._row[text] = len(self.texts)
            self.texts.append(text)
        if new:
            made = np.stack([vectors[text] for text in new])
            self.vectors = np.concatenate([self.vectors, made]) if self.vectors.size else made
        rows = np.array([[self._row[one], self._row[other]] for one, other in pairs])
        self.pairs = np.concatenate([self.pairs, rows])


def _values(persona: Persona) -> tuple[str, str]:
    """The two texts that say what a persona stands for."""
    return persona.core_value, persona.right_duty
