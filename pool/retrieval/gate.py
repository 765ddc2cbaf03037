"""The gate: hit, partial hit or miss.

Pure arithmetic on relevances and coverage. A persona is kept when the scenario it was made for is near enough to the
one asked; a panel is kept whole when it covers enough of the values at stake, which a calibrated pool demands
(`ethos.pool.retrieval.calibration`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ethos.answer import Decision, Gate
from ethos.pool.retrieval.selection import Candidates, Chosen


def eligible(candidates: Candidates, threshold: float) -> Candidates:
    """The candidates near enough to be kept."""
    return candidates.first(int(np.count_nonzero(candidates.relevance >= threshold)))


def admit(chosen: Sequence[Chosen], coverage: float, required: float, k: int) -> list[Chosen]:
    """Those of the chosen that stay in the panel.

    All of them where the panel is not full anyway or covers what is required. Else those who pull their weight, a k-th
    of what is required; at least the weakest makes room for a persona generated for the scenario.
    """
    if len(chosen) < k or coverage >= required:
        return list(chosen)
    return [one for one in chosen if one.gain >= required / k][: k - 1]


def decide(candidates: Candidates, admitted: int, k: int, threshold: float, coverage: float, required: float) -> Gate:
    """The gate's decision.

    Args:
        candidates: All that were retrieved.
        admitted: How many distinct, near enough personas stay.
        k: How many the panel needs.
        threshold: Relevance from which a candidate is kept, cosine.
        coverage: Share of the values at stake that the full choice covers, 0..1.
        required: Share that a calibrated pool demands; 0 where nothing was calibrated.
    """
    score = float(candidates.relevance[min(k, len(candidates)) - 1]) if len(candidates) else 0.0
    decision = Decision.HIT if admitted >= k else Decision.PARTIAL if admitted else Decision.MISS
    return Gate(decision, round(score, 6), threshold, round(coverage, 6), round(required, 6))
