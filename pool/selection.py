"""Chooses a panel: from candidates with relevance and value vectors to k personas that cover the values at stake.

Pure arithmetic on arrays: knows no database, index or model. Personas are chosen greedily to cover what is at stake, as
`ethos.pool.demand` estimates it, distinct in every attribute (design.md section 6).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ethos.cleaning import fold
from ethos.embedding import Vectors
from ethos.persona import Persona

COVERED = 0.7  # cosine from which two value texts count as the same value (design.md section 6)
TARGETS = 400  # values that are looked at, those most at stake first; the rest hold next to nothing


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


def choose(candidates: Sequence[Candidate], vectors: Vectors, stakes: NDArray[np.float64], k: int) -> list[Chosen]:
    """Choose up to k candidates that cover the values at stake and differ in every attribute.

    Args:
        candidates: In any order, one a persona; the result does not depend on it.
        vectors: Unit rows of the candidates' value texts, float32, (values, dimensions).
        stakes: How much each value is at stake, summing to 1 (`ethos.pool.demand`).
        k: Most to choose.

    Returns:
        In the order of choice; fewer than k when the candidates left all repeat an attribute of one chosen.
    """
    ordered = sorted(candidates, key=lambda candidate: (-candidate.relevance, candidate.persona.id))
    if not ordered:
        return []
    targets = np.argsort(-stakes, kind="stable")[:TARGETS]
    owned = np.array([candidate.values for candidate in ordered])
    alike = vectors @ vectors[targets].T >= COVERED
    covers = (alike[owned[:, 0]] | alike[owned[:, 1]]).astype(np.float64)
    slots = _codes(ordered)
    free = np.ones(len(ordered), dtype=bool)
    left = stakes[targets].copy()
    chosen: list[Chosen] = []
    while len(chosen) < k and free.any():
        gains = np.where(free, covers @ left, -1.0)
        # The first of equals is the most relevant, then the smallest id: stable under any order of insertion.
        best = int(np.argmax(gains > gains.max() - 1e-9))
        chosen.append(Chosen(ordered[best], float(gains[best])))
        left[covers[best] > 0] = 0.0
        free &= (slots != slots[best]).all(axis=1)
    return chosen


def _codes(candidates: Sequence[Candidate]) -> NDArray[np.int64]:
    """One number an attribute text, equal where the texts count as the same: (candidates, 6)."""
    numbers: dict[str, int] = {}
    return np.array([[numbers.setdefault(text, len(numbers)) for text in _folded(c.persona)] for c in candidates])


@lru_cache(maxsize=200_000)
def _folded(persona: Persona) -> tuple[str, ...]:
    return tuple(map(fold, persona.texts()))
