"""Chooses a panel: from candidates with relevance and value vectors to k personas that cover the values at stake.

Pure arithmetic on arrays: knows no database, index or model. The method is design.md section 6, the .721 row:
the values a scenario raises are estimated from those of its nearest scenarios' personas, then personas are chosen
greedily to cover that estimate, distinct in every attribute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ethos.cleaning import fold
from ethos.embedding import Vectors
from ethos.persona import Persona

COVERED = 0.7  # cosine from which two value texts count as the same value (design.md section 6)
SHARPNESS = 0.1  # a neighbour's say in the estimate falls by e for each 0.1 of similarity


@dataclass(frozen=True, slots=True)
class Candidate:
    """A persona that may be chosen.

    Attributes:
        persona: Who.
        relevance: Cosine between the scenario asked and the nearest scenario it was made for.
        situation: That scenario.
        values: Rows of the value vectors: its core value and its right/duty.
    """

    persona: Persona
    relevance: float
    situation: str
    values: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Chosen:
    """A candidate that was chosen, and what it added.

    Attributes:
        candidate: Which.
        gain: Share of the estimated values that it covers and those chosen before it do not, 0..1.
    """

    candidate: Candidate
    gain: float


def choose(candidates: Sequence[Candidate], vectors: Vectors, k: int) -> list[Chosen]:
    """Choose up to k candidates that cover the values at stake and differ in every attribute.

    Args:
        candidates: In any order; the result does not depend on it.
        vectors: Unit rows of the candidates' value texts, float32, (values, dimensions).
        k: Most to choose.

    Returns:
        In the order of choice; fewer than k when the candidates left all repeat an attribute of one chosen.
    """
    ordered = sorted(candidates, key=lambda candidate: (-candidate.relevance, candidate.persona.id))
    if not ordered:
        return []
    demand = _demand(ordered, len(vectors))
    owned = np.array([candidate.values for candidate in ordered])
    alike = vectors @ vectors.T >= COVERED
    covers = alike[owned[:, 0]] | alike[owned[:, 1]]
    taken: list[set[str]] = []
    free = np.ones(len(ordered), dtype=bool)
    left = demand.copy()
    chosen: list[Chosen] = []
    while len(chosen) < k and free.any():
        gains = np.where(free, covers @ left, -1.0)
        # The first of equals is the most relevant, then the smallest id: stable under any order of insertion.
        best = int(np.argmax(gains > gains.max() - 1e-9))
        chosen.append(Chosen(ordered[best], float(gains[best])))
        left[covers[best]] = 0.0
        taken.append({_slot(i, text) for i, text in enumerate(ordered[best].persona.texts())})
        free[best] = False
        for position in np.flatnonzero(free):
            slots = {_slot(i, text) for i, text in enumerate(ordered[position].persona.texts())}
            free[position] = not slots & taken[-1]
    return chosen


def _demand(candidates: Sequence[Candidate], values: int) -> NDArray[np.float64]:
    """How much each value is at stake, summing to 1: its owners' votes, weighted by their nearness."""
    votes = np.zeros(values)
    for candidate in candidates:
        votes[list(candidate.values)] += np.exp(candidate.relevance / SHARPNESS)
    total: float = votes.sum()
    return votes / total


def _slot(attribute: int, text: str) -> str:
    return f"{attribute}:{fold(text)}"
