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
from ethos.pool.demand import values_at_stake
from ethos.pool.selection import Candidate
from ethos.pool.store import Link, Store

NEIGHBOURS = 200


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """What a pool holds around a situation.

    Attributes:
        candidates: One a persona.
        vectors: Unit rows of the candidates' value texts, float32, (values, dimensions).
        stakes: How much each value is at stake in the situation, summing to 1.
    """

    candidates: tuple[Candidate, ...]
    vectors: Vectors
    stakes: NDArray[np.float64]


class ScenarioIndex:
    """Nearest scenarios by meaning, with their personas.

    Args:
        store: The truth.
        embedder: Encodes scenarios and values; vectors missing for it are made and stored when they are needed.
    """

    def __init__(self, store: Store, embedder: Embedder) -> None:
        self._store = store
        self._embedder = embedder
        self._mark = 0
        self._links: dict[str, list[Link]] = {}
        self._order: list[str] = []
        self._values: dict[str, Vectors] = {}
        self._faiss: Any = None
        self.encoding_seconds = 0.0  # spent in the encoder so far, to tell it from the search

    def nearest(self, situation: str) -> Neighbourhood:
        """What the pool holds around a situation; empty for an empty pool."""
        self.catch_up()
        if self._faiss is None:
            return Neighbourhood((), np.empty((0, 0), dtype=np.float32), np.empty(0))
        query = self._vectors([situation])[situation]
        count = min(NEIGHBOURS, len(self._order))
        similarities, positions = self._faiss.search(query[None, :], count)
        near = {self._order[p]: min(float(s), 1.0) for s, p in zip(similarities[0], positions[0], strict=True)}
        return self._around(query, self._faiss.reconstruct_batch(positions[0]), near)

    def _around(self, query: Vectors, scenarios: Vectors, near: dict[str, float]) -> Neighbourhood:
        """Candidates of the near scenarios, with the relevance of the nearest one each was made for."""
        best: dict[str, tuple[float, Link]] = {}
        rows: dict[str, int] = {}
        owned: list[list[int]] = []
        for scenario_id, similarity in near.items():
            owned.append([])
            for link in self._links[scenario_id]:
                owned[-1] += [rows.setdefault(text, len(rows)) for text in _values(link)]
                if link.persona.id not in best or similarity > best[link.persona.id][0]:
                    best[link.persona.id] = (similarity, link)
        vectors = np.stack([self._values[text] for text in rows])
        candidates = tuple(
            Candidate(link.persona, similarity, link.situation, (rows[_values(link)[0]], rows[_values(link)[1]]))
            for similarity, link in best.values()
        )
        return Neighbourhood(candidates, vectors, values_at_stake(query, scenarios, owned, vectors))

    def catch_up(self) -> None:
        """Take in what SQL has beyond this index; microseconds when there is nothing new."""
        if self._store.mark() == self._mark:
            return
        import faiss  # late: a stored panel needs no index

        links, mark = self._store.links(above=self._mark)
        texts = {text for link in links for text in (link.situation, *_values(link))}
        vectors = self._vectors(texts)
        self._values |= {text: vectors[text] for link in links for text in _values(link)}
        new = list(dict.fromkeys(link.scenario_id for link in links if link.scenario_id not in self._links))
        situations = {link.scenario_id: link.situation for link in links}
        for link in links:
            self._links.setdefault(link.scenario_id, []).append(link)
        if new:
            matrix = np.stack([vectors[situations[scenario_id]] for scenario_id in new])
            if self._faiss is None:
                self._faiss = faiss.IndexFlatIP(matrix.shape[1])
            self._faiss.add(matrix)
            self._order += new
        self._mark = mark

    def _vectors(self, texts: Iterable[str]) -> dict[str, Vectors]:
        """Vectors of texts: from the store, or made now and stored for the next time."""
        wanted = list(dict.fromkeys(texts))
        found = self._store.vectors(self._embedder.identity, wanted)
        if missing := [text for text in wanted if text not in found]:
            started = time.perf_counter()
            made = dict(zip(missing, self._embedder.encode(missing), strict=True))
            self.encoding_seconds += time.perf_counter() - started
            self._store.put_vectors(self._embedder.identity, made)
            found |= made
        return found


def _values(link: Link) -> tuple[str, str]:
    """The two texts that say what a persona stands for."""
    return link.persona.core_value, link.persona.right_duty
