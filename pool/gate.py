"""Decides whether the pool serves a scenario: hit, partial hit or miss.

Pure arithmetic on relevances. A persona is kept when the scenario it was made for is near enough to the one asked.
"""

from __future__ import annotations

from collections.abc import Sequence

from ethos.answer import Decision, Gate
from ethos.pool.selection import Candidate


def eligible(candidates: Sequence[Candidate], threshold: float) -> list[Candidate]:
    """The candidates near enough to be kept."""
    return [candidate for candidate in candidates if candidate.relevance >= threshold]


def decide(candidates: Sequence[Candidate], chosen: int, k: int, threshold: float) -> Gate:
    """The gate's decision.

    Args:
        candidates: All that were retrieved.
        chosen: How many distinct, near enough personas were chosen.
        k: How many the panel needs.
        threshold: Relevance from which a candidate is kept, cosine.
    """
    ranked = sorted((candidate.relevance for candidate in candidates), reverse=True)
    score = ranked[min(k, len(ranked)) - 1] if ranked else 0.0
    decision = Decision.HIT if chosen >= k else Decision.PARTIAL if chosen else Decision.MISS
    return Gate(decision, round(score, 6), threshold)
