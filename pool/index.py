"""The vector index: which scenarios are near, and which personas were made for them.

Derived from SQL and kept in memory; before every query it catches up with what any process has added since. Built
from SQL when it is opened: exact, and at up to 200,000 vectors quicker than reading a file (notes/platform.md 1.2).
Knows the store and FAISS; knows nothing of how a panel is chosen.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np

from ethos.embedding import Embedder, Vectors
from ethos.pool.selection import Candidate
from ethos.pool.store import Link, Store

NEIGHBOURS = 50


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
        self._faiss: object | None = None
        self.encoding_seconds = 0.0  # spent in the encoder so far, to tell it from the search

    def nearest(self, situation: str) -> tuple[list[Candidate], Vectors]:
        """Candidates of the scenarios nearest to a situation.

        Returns:
            One candidate a persona, with the relevance of the nearest scenario it was made for, and the unit rows
            of their value texts, float32, (values, dimensions).
        """
        self.catch_up()
        if self._faiss is None:
            return [], np.empty((0, 0), dtype=np.float32)
        query = self._vectors([situation])[situation]
        count = min(NEIGHBOURS, len(self._order))
        similarities, positions = self._faiss.search(query[None, :], count)  # type: ignore[attr-defined]
        near = {self._order[p]: float(s) for s, p in zip(similarities[0], positions[0], strict=True)}
        return self._candidates(near)

    def _candidates(self, near: dict[str, float]) -> tuple[list[Candidate], Vectors]:
        best: dict[str, tuple[float, Link]] = {}
        for scenario_id, similarity in near.items():
            for link in self._links[scenario_id]:
                known = best.get(link.persona.id)
                if known is None or similarity > known[0]:
                    best[link.persona.id] = (similarity, link)
        rows: dict[str, int] = {}
        candidates = []
        for similarity, link in best.values():
            core = rows.setdefault(link.persona.core_value, len(rows))
            right = rows.setdefault(link.persona.right_duty, len(rows))
            candidates.append(Candidate(link.persona, min(similarity, 1.0), link.situation, (core, right)))
        vectors = np.stack([self._values[text] for text in rows]) if rows else np.empty((0, 0), dtype=np.float32)
        return candidates, vectors

    def catch_up(self) -> None:
        """Take in what SQL has beyond this index; microseconds when there is nothing new."""
        if self._store.mark() == self._mark:
            return
        import faiss  # late: a stored panel needs no index

        links, mark = self._store.links(above=self._mark)
        texts = {text for link in links for text in (link.situation, link.persona.core_value, link.persona.right_duty)}
        vectors = self._vectors(texts)
        self._values |= {t: vectors[t] for link in links for t in (link.persona.core_value, link.persona.right_duty)}
        new = list(dict.fromkeys(link.scenario_id for link in links if link.scenario_id not in self._links))
        situations = {link.scenario_id: link.situation for link in links}
        for link in links:
            self._links.setdefault(link.scenario_id, []).append(link)
        if new:
            matrix = np.stack([vectors[situations[scenario_id]] for scenario_id in new])
            if self._faiss is None:
                self._faiss = faiss.IndexFlatIP(matrix.shape[1])
            self._faiss.add(matrix)  # type: ignore[attr-defined]
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
