"""Diversity of a set of unit vectors: effective number, distinct groups, nearest pairs.

Pure arithmetic on arrays: knows no database, persona or model.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from ethos.encoders.embedder import Vectors

_BLOCK = 512  # rows compared with all others at once: 100 MB at 50,000 rows


class Near(NamedTuple):
    """Two rows and their cosine, `first` < `second`."""

    first: int
    second: int
    cosine: float


def vendi(vectors: Vectors) -> float:
    """The Vendi score: the effective number of different vectors, from 1 (all the same) to n (all orthogonal).

    The exponential of the Shannon entropy of the eigenvalues of K / n, where K holds the cosines between the rows
    (Friedman & Dieng, "The Vendi Score: A Diversity Evaluation Metric for Machine Learning", TMLR 2023). K has no more
    eigenvalues above zero than the vectors have dimensions, and they are those of the dual matrix of dimensions by
    dimensions, so thousands of rows cost no more than hundreds. For the same reason the score never exceeds the number
    of dimensions.

    Args:
        vectors: Unit rows, (n, dimensions).

    Returns:
        From 1 to the smaller of n and dimensions; 0 for no rows.
    """
    count = len(vectors)
    if not count:
        return 0.0
    rows = vectors.astype(np.float64)
    gram = rows @ rows.T if count < rows.shape[1] else rows.T @ rows
    shares = np.linalg.eigvalsh(gram / count)
    shares = shares[shares > 1e-12]  # rounding makes some of the zeros negative
    return float(np.exp(-(shares * np.log(shares)).sum()))


def groups(vectors: Vectors, same: float) -> int:
    """How many groups of rows there are when all that are alike, directly or through others, are one group.

    Args:
        vectors: Unit rows, (n, dimensions).
        same: Cosine from which two rows are alike.
    """
    if not len(vectors):
        return 0
    return int(connected_components(csr_array(vectors @ vectors.T >= same), directed=False, return_labels=False))


def nearest_pairs(vectors: Vectors, count: int) -> list[Near]:
    """The pairs of rows with the highest cosines, highest first; equals in order of rows.

    Args:
        vectors: Unit rows, (n, dimensions).
        count: Most pairs to give.
    """
    best: list[Near] = []
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK] @ vectors[start:].T
        block[np.tril_indices(block.shape[0], m=block.shape[1])] = -np.inf  # itself, and pairs seen from the other
        flat = block.ravel()
        top = np.argpartition(-flat, count)[:count] if count < flat.size else np.arange(flat.size)
        found = (divmod(int(position), block.shape[1]) for position in top if np.isfinite(flat[position]))
        best += [Near(start + row, start + column, min(float(block[row, column]), 1.0)) for row, column in found]
        best = sorted(best, key=lambda near: (-near.cosine, near.first, near.second))[:count]
    return best
