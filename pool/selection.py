"""Chooses a panel: from candidates with relevance and value vectors to k personas that cover the values at stake.

Pure arithmetic on arrays: knows no database, index or model. Personas are chosen greedily to cover what is at stake, as
`ethos.pool.demand` estimates it, distinct in every attribute (design.md section 6).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ethos.cleaning import fold
from ethos.embedding import Vectors
from ethos.persona import ATTRIBUTES, Persona

COVERED = 0.7  # cosine from which two value texts count as the same value (design.md section 6)
TARGETS = 200  # values that are looked at, those most at stake first; the rest hold next to nothing


@dataclass(frozen=True, slots=True)
class Candidate:
    """A persona that may be chosen.

    Attributes:
        persona: Who.
        relevance: Cosine between the scenario asked and the nearest scenario it was made for.
        situation: That scenario.
        values: Rows of the value vectors: its core value and its right/duty.
        slots: One number an attribute (`Slots`).
    """

    persona: Persona
    relevance: float
    situation: str
    values: tuple[int, int]
    slots: tuple[int, ...]


class Slots:
    """Numbers for attribute texts, equal where two texts of one attribute count as the same.

    Texts are compared as `ethos.cleaning.fold` leaves them. Numbers are given once and kept, so that personas need not
    be compared text by text for every question.
    """

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, str], int] = {}
        self._seen: dict[tuple[int, str], int] = {}  # texts as written, which spares folding them again

    def of(self, persona: Persona) -> tuple[int, ...]:
        """The six numbers of a persona."""
        return tuple(map(self._number, enumerate(persona.texts())))

    def _number(self, text: tuple[int, str]) -> int:
        if text not in self._seen:
            self._seen[text] = self._numbers.setdefault((text[0], fold(text[1])), len(self._numbers))
        return self._seen[text]


@dataclass(frozen=True, slots=True)
class Chosen:
    """A candidate that was chosen, and why.

    Attributes:
        candidate: Which.
        gain: Share of the estimated values that it covers and those chosen before it do not, 0..1.
        adds: Rows of the values it newly covers with what is at stake in each, the greatest first.
        displaced: The most relevant candidate that had to stand back for it; None if it was itself the most relevant.
        clash: The attribute in which the displaced repeats one chosen before; empty if it would only have added less.
    """

    candidate: Candidate
    gain: float
    adds: tuple[tuple[int, float], ...] = ()
    displaced: Candidate | None = None
    clash: str = ""


def choose(candidates: Sequence[Candidate], vectors: Vectors, stakes: NDArray[np.float64], k: int) -> list[Chosen]:
    """Choose up to k candidates that cover the values at stake and differ in every attribute.

    Greedy, which for covering comes within 1 - 1/e of the best; where greed runs into a dead end before k, an exact
    search finds the k distinct candidates that exist (or as many as do).

    Args:
        candidates: In any order, one a persona; the result does not depend on it.
        vectors: Unit rows of the candidates' value texts, float32, (values, dimensions).
        stakes: How much each value is at stake, summing to 1 (`ethos.pool.demand`).
        k: Most to choose.

    Returns:
        In the order of choice; fewer than k only when no k of the candidates differ in every attribute.
    """
    ordered = sorted(candidates, key=lambda candidate: (-candidate.relevance, candidate.persona.id))
    if not ordered:
        return []
    cover = _Cover(ordered, vectors, stakes)
    chosen = cover.greedy(k, range(len(ordered)))
    if len(chosen) < min(k, len(ordered)):
        largest = cover.largest(k)
        if len(largest) > len(chosen):
            chosen = cover.greedy(k, largest)
    return chosen


def covered(candidates: Sequence[Candidate], vectors: Vectors, stakes: NDArray[np.float64]) -> float:
    """Share of what is at stake that these candidates cover together, 0..1."""
    if not candidates:
        return 0.0
    held = vectors[[row for candidate in candidates for row in candidate.values]]
    return float(stakes[(vectors @ held.T >= COVERED).any(axis=1)].sum())


class _Cover:
    """Which candidate covers which target, and which two clash. Candidates are in order of relevance."""

    def __init__(self, candidates: Sequence[Candidate], vectors: Vectors, stakes: NDArray[np.float64]) -> None:
        self.candidates = candidates
        self.targets = np.argsort(-stakes, kind="stable")[:TARGETS]
        self.stakes = stakes[self.targets]
        owned = np.array([candidate.values for candidate in candidates])
        alike = vectors @ vectors[self.targets].T >= COVERED
        self.covers = (alike[owned[:, 0]] | alike[owned[:, 1]]).astype(np.float64)
        self.slots = np.array([candidate.slots for candidate in candidates])

    def greedy(self, k: int, among: Iterable[int]) -> list[Chosen]:
        """The candidate of greatest gain, again and again."""
        free = np.zeros(len(self.candidates), dtype=bool)
        free[list(among)] = True
        left = self.stakes.copy()
        rows: list[int] = []
        chosen: list[Chosen] = []
        while len(rows) < k and free.any():
            gains = self.covers @ left
            open_gains = np.where(free, gains, -1.0)
            # The first of equals is the most relevant, then the smallest id: stable under any order of insertion.
            best = int(np.argmax(open_gains > open_gains.max() - 1e-9))
            chosen.append(self._chosen(best, rows, left))
            rows.append(best)
            left[self.covers[best] > 0] = 0.0
            free &= (self.slots != self.slots[best]).all(axis=1)
        return chosen

    def _chosen(self, best: int, rows: list[int], left: NDArray[np.float64]) -> Chosen:
        """A choice with its reasons, against those chosen before it and what they left uncovered."""
        new = np.flatnonzero((self.covers[best] > 0) & (left > 0))
        adds = tuple((int(self.targets[i]), float(left[i])) for i in new)  # targets fall by stake, and so do these
        passed = next((i for i in range(best) if i not in rows), None)
        if passed is None:
            return Chosen(self.candidates[best], float(left[new].sum()), adds)
        same = (self.slots[rows] == self.slots[passed]).any(axis=0)
        clash = ATTRIBUTES[int(same.argmax())] if same.any() else ""
        return Chosen(self.candidates[best], float(left[new].sum()), adds, self.candidates[passed], clash)

    def largest(self, k: int) -> list[int]:
        """The most candidates, up to k, that differ in every attribute; of equally many those that cover most.

        Exact: a matching in six dimensions, solved as an integer program by HiGHS.
        """
        from scipy.optimize import Bounds, LinearConstraint, milp  # late: greed seldom fails
        from scipy.sparse import csr_array

        count = len(self.candidates)
        rows = np.repeat(np.arange(count), self.slots.shape[1])
        one_a_text = csr_array((np.ones(rows.size), (self.slots.ravel(), rows)))
        # A place in the panel is worth more than all coverage together.
        worth = 1.0 + self.covers @ self.stakes / (2 * k)
        limits = [LinearConstraint(one_a_text, ub=1), LinearConstraint(np.ones((1, count)), ub=k)]
        solved = milp(-worth, integrality=np.ones(count), bounds=Bounds(0, 1), constraints=limits)
        return [int(row) for row in np.flatnonzero(solved.x > 0.5)]
