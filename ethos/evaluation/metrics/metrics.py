"""The metrics (design.md section 5), on plain arrays; each says whose definition it follows.

Knows numbers only: neither items nor files. An option is an index, a distribution one share an option, summing to 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ethos.influence import distance

JS_MEANING = "Jensen-Shannon distance, natural logarithm: 0 equal, 0.8326 disjoint; lower is better"
THRESHOLD = 0.33  # above which Modular Pluralism counts a situation as covered

Labels = Sequence[int] | NDArray[np.int64]


def confusion(gold: Labels, predicted: Labels) -> NDArray[np.int64]:
    """How often each gold option was predicted as each, (options, options), over the options that occur."""
    # scikit-learn's function warns where one option occurs, and takes a second to import.
    labels, places = np.unique(np.concatenate([gold, predicted]).astype(np.int64), return_inverse=True)
    cells = places[: len(gold)] * len(labels) + places[len(gold) :]
    return np.bincount(cells, minlength=len(labels) ** 2).reshape(len(labels), len(labels))


def balanced_accuracy(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean over the options that occur in the gold of the share found, 0..1 (as scikit-learn's function of the name).

    Of many counts at once, (..., options, options), so that they can be resampled.
    """
    return _mean(np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(axis=-1))


def macro_f1(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean of F1 over the options that occur in gold or predictions, 0..1 (as scikit-learn's ``f1_score``).

    Of many counts at once, (..., options, options).
    """
    return _mean(2 * np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(axis=-1) + counts.sum(axis=-2))


def _mean(found: NDArray[np.int64], of: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean of shares over the last axis, without those of nothing."""
    shares: NDArray[np.float64] = (found / np.maximum(of, 1)).sum(axis=-1) / (of > 0).sum(axis=-1)
    return shares


def without(gold: Labels, predicted: Labels, option: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The binary setting (Modular Pluralism's released code): no item whose gold or prediction is `option`, "either".

    Items leave by their prediction too, so that methods are scored on different items: the counts must stand by.
    """
    told, found = np.asarray(gold, dtype=np.int64), np.asarray(predicted, dtype=np.int64)
    kept = (told != option) & (found != option)
    return told[kept], found[kept]


def js_distance(gold: Sequence[float], predicted: Sequence[float]) -> float:
    """Jensen-Shannon distance with the natural logarithm, 0..0.8326, lower is better (SciPy's `jensenshannon`).

    The paper's tables call it a divergence; the released code takes this, its square root.
    """
    return distance(gold, predicted)


def total_variation(gold: Sequence[float], predicted: Sequence[float]) -> float:
    """Half the sum of absolute differences: the share of answers that would have to move, 0..1, lower is better."""
    return float(np.abs(np.subtract(gold, predicted)).sum() / 2)


def most_likely(distribution: Sequence[float]) -> int:
    """The most likely option; the first of equals, as in Modular Pluralism's released code."""
    return int(np.argmax(distribution))


def ties(distribution: Sequence[float]) -> tuple[int, ...]:
    """Every option that is the most likely; more than one where several are equally so."""
    shares = np.asarray(distribution)
    return tuple(np.flatnonzero(shares >= shares.max() - 1e-9).tolist())


def agreement(gold: Sequence[float], predicted: Sequence[float]) -> float:
    """Whether the most likely option is the same, 0 or 1.

    Of equals in the gold the first counts, as in Modular Pluralism's released code. Equals in the prediction share,
    where that code takes the first: a uniform guess over four options gets 1/4, not what "always A" would.
    """
    chosen = ties(predicted)
    return float(most_likely(gold) in chosen) / len(chosen)


def words(text: str) -> int:
    """Length of an answer in words, parted by blanks; listing values lengthens an answer, and inflates coverage."""
    return len(text.split())
