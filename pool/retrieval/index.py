"""The vector index: the nearest scenarios, and the personas made for them.

Derived from SQL and kept in memory as arrays of numbers, without the texts; before every query it catches up with what
any process has added since. Built from SQL when it is opened (notes/platform.md 1.2). Knows the store and the nearest
neighbours; knows nothing of how a panel is chosen.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from ethos.encoders.embedder import Embedder, Vectors
from ethos.errors import PoolDamaged
from ethos.persona import ATTRIBUTES
from ethos.pool.retrieval.demand import values_at_stake
from ethos.pool.retrieval.index_arrays import ID, Personas, Scenarios, Values
from ethos.pool.retrieval.selection import Candidates
from ethos.pool.retrieval.snapshot import Arrays, Snapshots
from ethos.pool.retrieval.threads import one_thread
from ethos.pool.retrieval.vectors import VectorStore
from ethos.pool.storage.personas import Store
from ethos.pool.storage.values import Position

NEIGHBOURS = 100
# Where scenarios lie dense, fewer neighbours show as much of the values at stake (benchmarks/panel.py: .723 of them
# covered instead of .728, but .379 instead of .401 in the starter pool), and cost half the time.
DENSE, DENSE_NEIGHBOURS = 1_000, 40
SNAPSHOT = 5_000  # changes from which on a snapshot is worth writing: SQL gives some 40,000 a second
REMEMBERED = 4096  # vectors of scenarios that were asked
_CORE_VALUE, _RIGHT_DUTY = ATTRIBUTES.index("core_value"), ATTRIBUTES.index("right_duty")


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """What a pool holds around a situation.

    Attributes:
        candidates: One a persona.
        persona_ids: Theirs, as bytes, (candidates,).
        scenario_ids: Of each the nearest scenario it was made for, as bytes, (candidates,).
        vectors: Unit rows of the candidates' value texts, float32, (values, dimensions).
        holders: For each value the id of a persona whose text it is, as bytes, (values,).
        duties: For each value whether that text is the persona's right/duty, (values,).
        stakes: How much each value is at stake in the situation, summing to 1.
    """

    candidates: Candidates
    persona_ids: NDArray[np.bytes_]
    scenario_ids: NDArray[np.bytes_]
    vectors: Vectors
    holders: NDArray[np.bytes_]
    duties: NDArray[np.int64]
    stakes: NDArray[np.float64]


_NO_IDS = np.empty(0, dtype=ID)
NOTHING = Neighbourhood(
    Candidates(np.empty(0), np.empty((0, 2), dtype=np.int64), np.empty((0, len(ATTRIBUTES)), dtype=np.uint64)),
    _NO_IDS,
    _NO_IDS,
    np.empty((0, 0), dtype=np.float32),
    _NO_IDS,
    np.empty(0, dtype=np.int64),
    np.empty(0),
)


class ScenarioIndex:
    """Nearest scenarios by meaning, with their personas.

    Args:
        store: The truth about personas.
        vectors: The truth about vectors.
        embedder: Encodes scenarios and values; vectors missing for it are made and stored when they are needed.
        snapshots: Where the index of a large pool is kept; None to build it from SQL each time.
    """

    _position: Position
    _kept: int

    def __init__(
        self, store: Store, vectors: VectorStore, embedder: Embedder, snapshots: Snapshots | None = None
    ) -> None:
        self._store = store
        self._stored = vectors
        self._embedder = embedder
        self._snapshots = snapshots
        self._clear()
        self._asked = lru_cache(REMEMBERED)(self._vector_of)
        self.encoding_seconds = 0.0  # seconds spent in the encoder so far, apart from the search

    def nearest(self, situation: str, without: str = "") -> Neighbourhood:
        """What the pool holds around a situation; empty for an empty pool.

        Args:
            situation: Its text.
            without: A situation to leave out, for those who ask what the pool would give if it did not have it.
        """
        self.catch_up()
        if not self._scenarios.links:
            return NOTHING
        return self._around(self._asked(situation), self._scenarios.copies(without) if without else ())

    @property
    def neighbours(self) -> int:
        """Return how many of the nearest scenarios estimate the values at stake."""
        return NEIGHBOURS if len(self._scenarios.links) < DENSE else DENSE_NEIGHBOURS

    @property
    def note(self) -> int:
        """Number of the newest note in the ledger that the index knows of."""
        return self._position.note

    def held(self) -> dict[str, set[str]]:
        """The active personas of every scenario that has some, by their ids."""
        self.catch_up()
        scenarios, personas = self._scenarios.ids.rows.astype(str), self._personas.ids.rows.astype(str)
        return {str(scenarios[row]): set(personas[held]) for row, held in enumerate(self._scenarios.links) if held}

    def situations(self) -> list[list[int]]:
        """Rows of the scenarios that have active personas, those of one situation together, in an order of no meaning.

        Their options may differ.
        """
        self.catch_up()
        found: dict[int, list[int]] = {}
        for row, held in enumerate(self._scenarios.links):
            if held:
                found.setdefault(int(self._scenarios.situations.rows[row]), []).append(row)
        return [found[number] for number in sorted(found)]  # numbers are digests

    def held_out(self, rows: Sequence[int]) -> tuple[Neighbourhood, Vectors]:
        """What the pool would hold around a situation if it did not have it, and the values it does hold there.

        Args:
            rows: Of the scenarios of one situation (`situations`).

        Returns:
            The neighbourhood; unit rows of the situation's own values, float32, (values, dimensions).
        """
        personas = list(chain.from_iterable(self._scenarios.links[row] for row in rows))
        own = self._values.vectors.rows[np.unique(self._personas.values.rows[personas])]
        return self._around(self._scenarios.nearest.vectors[rows[0]], rows), own

    def _around(self, query: Vectors, without: Sequence[int]) -> Neighbourhood:
        """Candidates of the near scenarios, with the relevance of the nearest one each was made for."""
        out = {*self._scenarios.emptied, *without}
        wanted = self.neighbours
        # Those left out must not take the place of others.
        with one_thread():
            near, cosines = self._scenarios.nearest.search(query, wanted + len(out))
            if out:
                stay = np.array([row not in out for row in near.tolist()], dtype=bool)
                near, cosines = near[stay], cosines[stay]
            if not len(near):
                return NOTHING
            order = np.lexsort((self._scenarios.ids.rows[near], -cosines))[:wanted]
            return self._candidates(query, near[order], cosines[order])

    def _candidates(self, query: Vectors, near: NDArray[np.int64], cosines: NDArray[np.float64]) -> Neighbourhood:
        held = [self._scenarios.links[row] for row in near.tolist()]
        where = np.repeat(np.arange(len(held)), [len(some) for some in held])
        # Scenarios come nearest first, so a persona's first mention is in the nearest it was made for.
        rows, first, again = np.unique(
            np.fromiter(chain.from_iterable(held), dtype=np.int64), return_index=True, return_inverse=True
        )
        nearest = where[first]
        numbers, values = self._values.distinct(self._personas.values.rows[rows])
        vectors = self._values.vectors.rows[numbers]
        found = np.zeros((len(near), len(numbers)), dtype=bool)
        found[where[:, None], values[again]] = True
        stakes = values_at_stake(query, self._scenarios.nearest.vectors[near], found, vectors)
        ids, relevance = self._personas.ids.rows[rows], cosines[nearest]
        order = np.lexsort((ids, -relevance))
        holders, duties = self._values.holders.rows[numbers].T
        return Neighbourhood(
            Candidates(relevance[order], values[order], self._personas.slots.rows[rows[order]]),
            ids[order],
            self._scenarios.ids.rows[near[nearest[order]]],
            vectors,
            self._personas.ids.rows[holders],
            duties,
            stakes,
        )

    def catch_up(self) -> None:
        """Take in what SQL has beyond this index; microseconds when there is nothing new."""
        history = self._store.history(self._position.note)
        if history.now == self._position:
            return
        if not self._position.note and self._snapshots and (kept := self._snapshots.load()):
            self._restore(*kept)
            history = self._store.history(self._position.note)
        if history.link_then != self._position.link:
            self._clear()  # the pool was put back to an earlier state, and may have gone another way since
        if history.now.change == self._position.change:
            self._position = history.now
            return
        self._follow()
        if self._snapshots and self._position.change - self._kept >= max(SNAPSHOT, self._kept // 10):
            self._snapshots.save(self._position, self._arrays())
            self._kept = self._position.change

    def _clear(self) -> None:
        self._position = Position()
        self._kept = 0  # the last change in the snapshot
        self._scenarios = Scenarios()
        self._personas = Personas()
        self._values = Values()

    def _arrays(self) -> Arrays:
        parts = {
            "scenario": self._scenarios.arrays(),
            "persona": self._personas.arrays(),
            "value": self._values.arrays(),
        }
        return {f"{name}_{key}": array for name, part in parts.items() for key, array in part.items()}

    def _restore(self, position: Position, arrays: Arrays) -> None:
        self._scenarios = Scenarios.of(_part(arrays, "scenario"))
        self._personas = Personas.of(_part(arrays, "persona"))
        self._values = Values.of(_part(arrays, "value"), len(self._personas.ids))
        self._position, self._kept = position, position.change

    def _follow(self) -> None:
        """Take in the changes after the position."""
        news = self._store.news(self._position.change, self._personas.row.keys(), self._scenarios.row.keys())
        pairs = [(texts[_CORE_VALUE], texts[_RIGHT_DUTY]) for texts in news.personas.values()]
        vectors = self.vectors(chain(news.situations.values(), chain.from_iterable(pairs)))
        values = self._values.add(pairs, vectors)
        self._personas.add(news.personas, values)
        self._scenarios.add(news.situations, vectors)
        try:
            for change in news.changes:
                self._scenarios.follow(change.added, self._personas.row[change.persona_id], change.scenario_id)
        except (KeyError, ValueError) as error:
            self._clear()
            raise PoolDamaged(
                "the pool's changes name a persona or scenario that is not there", "look closer: ethos pool verify"
            ) from error
        self._position = news.position

    def vectors(self, texts: Iterable[str]) -> dict[str, Vectors]:
        """Vectors of texts: from the store, or made now and stored for the next time."""
        wanted = list(dict.fromkeys(texts))
        found = self._stored.get(self._embedder.identity, wanted)
        if missing := [text for text in wanted if text not in found]:
            made = dict(zip(missing, self._encode(missing), strict=True))
            self._stored.put(self._embedder.identity, made)
            found |= made
        return found

    def _vector_of(self, situation: str) -> Vectors:
        """The vector of a scenario that is asked: not stored, since nothing may ever be made for it."""
        known = self._scenarios.copies(situation)
        vector: Vectors = self._scenarios.nearest.vectors[known[0]] if known else self._encode([situation])[0]
        return vector

    def _encode(self, texts: Sequence[str]) -> Vectors:
        started = time.perf_counter()
        made = self._embedder.encode(texts)
        self.encoding_seconds += time.perf_counter() - started
        return made


def _part(arrays: Arrays, name: str) -> Arrays:
    return {key.removeprefix(f"{name}_"): array for key, array in arrays.items() if key.startswith(f"{name}_")}
