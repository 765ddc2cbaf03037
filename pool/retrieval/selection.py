"""Select a panel: k personas that cover the values at stake, from candidates with relevance and vectors.

Pure arithmetic on arrays: knows no database, index or model. Personas are chosen greedily to cover what is at stake, as
`ethos.pool.retrieval.demand` estimates it, distinct in every attribute (design.md section 6).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ethos.encoders.embedder import Vectors
from ethos.persona import ATTRIBUTES
from ethos.text.cleaning import fold, short_digest

COVERED = 0.7  # cosine from which two value texts count as the same value (design.md section 6)
MOST_ADDED = 3  # values that a choice is said to add
TARGETS = 96  # values that are looked at, those most at stake first; the rest hold next to nothing


@dataclass(frozen=True, slots=True)
class Candidates:
    """Personas that may be chosen, the most relevant first and of equally relevant the one of the smallest id.

    Attributes:
        relevance: Of each the cosine between the scenario asked and the nearest it was made for, (candidates,).
        values: Of each the rows of its core value and its right/duty among the value vectors, (candidates, 2).
        slots: Of each one number an attribute (`slots`), (candidates, 6).
    """

    relevance: NDArray[np.float64]
    values: NDArray[np.int64]
    slots: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.relevance)

    def first(self, count: int) -> Candidates:
        """The most relevant of them."""
        return Candidates(self.relevance[:count], self.values[:count], self.slots[:count])


def slots(personas: Iterable[Sequence[str]]) -> NDArray[np.uint64]:
    """Numbers for the six texts of personas, (personas, 6).

    Equal where two texts of one attribute are equal after `ethos.text.cleaning.fold`, so that personas need not be
    compared text by text for every question.
    """
    known: dict[tuple[int, str], int] = {}
    rows = []
    for persona in personas:
        row = []
        for key in enumerate(persona):
            if key not in known:
                known[key] = short_digest(f"{key[0]} {fold(key[1])}")
            row.append(known[key])
        rows.append(row)
    return np.array(rows, dtype=np.uint64).reshape(-1, len(ATTRIBUTES))


@dataclass(frozen=True, slots=True)
class Chosen:
    """A candidate that was chosen, and why.

    Attributes:
        row: Its row among the candidates.
        gain: Share of the estimated values that it covers and those chosen before it do not, 0..1.
        adds: Rows of the values it newly covers, each with its stake; the `MOST_ADDED` greatest, in order.
        displaced: The most relevant candidate that it displaced; None if it was itself the most relevant.
        clash: The attribute in which the displaced repeats one chosen before; empty if it would only have added less.
    """

    row: int
    gain: float
    adds: tuple[tuple[int, float], ...] = ()
    displaced: int | None = None
    clash: str = ""


class Selector(Protocol):
    """Chooses a panel: the seam for another selection than `choose`."""

    def __call__(
        self, candidates: Candidates, vectors: Vectors, stakes: NDArray[np.float64], k: int
    ) -> Sequence[Chosen]:
        """Return at most k of the candidates, in order of choice (see `choose`)."""


def choose(candidates: Candidates, vectors: Vectors, stakes: NDArray[np.float64], k: int) -> list[Chosen]:
    """Choose up to k candidates that cover the values at stake and differ in every attribute.

    Greedy, which for covering comes within 1 - 1/e of the best; where greed runs into a dead end before k, an exact
    search finds the k distinct candidates that exist (or as many as do).

    Args:
        candidates: One a persona.
        vectors: Unit rows of the candidates' value texts, float32, (values, dimensions).
        stakes: How much each value is at stake, summing to 1 (`ethos.pool.retrieval.demand`).
        k: Most to choose.

    Returns:
        In the order of choice; fewer than k only when no k of the candidates differ in every attribute.
    """
    if not len(candidates):
        return []
    cover = _Cover(candidates, vectors, stakes)
    chosen = cover.greedy(k)
    if len(chosen) < min(k, len(candidates)):
        largest = cover.largest(k)
        if len(largest) > len(chosen):
            chosen = cover.greedy(k, largest)
    return chosen


class _Cover:
    """Which candidate covers which target, and which two clash."""

    def __init__(self, candidates: Candidates, vectors: Vectors, stakes: NDArray[np.float64]) -> None:
        self.targets = np.argsort(-stakes, kind="stable")[:TARGETS]
        self.stakes = stakes[self.targets]
        # A value is compared once, however many hold it; and not at all if nobody near enough does.
        held = np.zeros(len(vectors), dtype=bool)
        held[candidates.values] = True
        alike = np.zeros((len(vectors), len(self.targets)), dtype=bool)
        alike[held] = vectors[held] @ vectors[self.targets].T >= COVERED
        first, second = candidates.values.T
        self.covers = alike[first] | alike[second]
        self.worth = self.covers.astype(np.float32)
        self.relevance, self.slots = candidates.relevance, candidates.slots
        self.falling = -self.relevance

    def greedy(self, k: int, among: Sequence[int] | None = None) -> list[Chosen]:
        """The candidate of greatest gain, again and again."""
        free = np.ones(len(self.covers), dtype=bool)
        if among is not None:
            free[:] = False
            free[among] = True
        left = self.stakes.astype(np.float32)
        rows: list[int] = []
        chosen: list[Chosen] = []
        while len(rows) < k and free.any():
            gains = self.worth @ left
            gains[~free] = -1.0
            # The first of equals is the most relevant, then the smallest id: stable under any order of insertion.
            best = int((gains > gains.max() - 1e-6).argmax())
            chosen.append(self._chosen(best, rows, left))
            rows.append(best)
            left[self.covers[best]] = 0.0
            free &= (self.slots != self.slots[best]).all(axis=1)
        return chosen

    def _chosen(self, best: int, rows: list[int], left: NDArray[np.float32]) -> Chosen:
        """A choice with its reasons, against those chosen before it and what they left uncovered."""
        [new] = (self.covers[best] & (left > 0)).nonzero()
        gain = float(self.stakes[new].sum())
        added = new[:MOST_ADDED]  # targets fall by stake
        adds = tuple(zip(self.targets[added].tolist(), self.stakes[added].tolist(), strict=True))
        # Relevances fall: those above the chosen one's come first.
        nearer = range(int(self.falling.searchsorted(self.falling[best])))
        passed = next((i for i in nearer if i not in rows), None)
        if passed is None:
            return Chosen(best, gain, adds)
        same = (self.slots[rows] == self.slots[passed]).any(axis=0)
        return Chosen(best, gain, adds, passed, ATTRIBUTES[int(same.argmax())] if same.any() else "")

    def largest(self, k: int) -> list[int]:
        """The most candidates, up to k, that differ in every attribute; of equally many those that cover most.

        Exact: a matching in six dimensions, solved as an integer program by HiGHS.
        """
        from scipy.optimize import Bounds, LinearConstraint, milp  # late: greed seldom fails
        from scipy.sparse import csr_array

        count, attributes = self.slots.shape
        _, texts = np.unique(self.slots, return_inverse=True)
        rows = np.repeat(np.arange(count), attributes)
        one_a_text: Any = csr_array((np.ones(rows.size), (texts.ravel(), rows)))
        # A place in the panel is worth more than all coverage together.
        worth = 1.0 + self.covers @ self.stakes / (2 * k)
        limits = [LinearConstraint(one_a_text, ub=1), LinearConstraint(np.ones((1, count)), ub=k)]
        solved = milp(-worth, integrality=np.ones(count), bounds=Bounds(0, 1), constraints=limits)
        return [int(row) for row in np.flatnonzero(solved.x > 0.5)]
