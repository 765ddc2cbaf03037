"""Estimate which values a scenario raises, from the personas of its nearest scenarios.

Pure arithmetic on arrays: knows no database, index or model. Learns from nothing but the pool's own scenarios, so it
improves as the pool grows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ethos.encoders.embedder import Vectors

# Tuned on VITAL's development half, flat around these: benchmarks/panel.py.
KERNEL = 2.0  # how fast a neighbour's say falls with its distance
NOISE = 1.0  # how far one scenario's values are a matter of who wrote them
NAMED = 2.0  # how much likelier a value is that the scenario itself is about


def values_at_stake(
    query: Vectors, neighbours: Vectors, found: NDArray[np.bool_], values: Vectors
) -> NDArray[np.float64]:
    """How much each value is at stake in a scenario.

    Kernel ridge regression (the mean of a Gaussian process) from the neighbours' vectors to which values were found in
    them, around the neighbours' average; then raised by how near the value's own words are to the scenario.

    Args:
        query: The scenario's unit vector, float32, (dimensions,).
        neighbours: Unit rows of the nearest scenarios, float32, (neighbours, dimensions).
        found: Whether a persona made for a neighbour holds a value, (neighbours, values).
        values: Unit rows of the value texts, float32, (values, dimensions).

    Returns:
        One share a value, not negative, summing to 1.
    """
    kernel = np.exp(KERNEL * (neighbours @ neighbours.T - 1.0))
    kernel.ravel()[:: len(kernel) + 1] += NOISE  # the diagonal
    weights = np.linalg.solve(kernel, np.exp(KERNEL * (neighbours @ query - 1.0)))
    # The average plus the weighted differences from it.
    expected = (weights + (1.0 - weights.sum()) / len(neighbours)) @ found
    stake = np.maximum(expected, 0.0) * np.exp(NAMED * (values @ query))
    share: NDArray[np.float64] = stake / stake.sum()
    return share
