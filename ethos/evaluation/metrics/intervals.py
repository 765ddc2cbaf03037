"""Confidence intervals: of a mean over items, of a statistic, and of a paired difference."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ethos.errors import InputError

LEVEL = 0.95
_RESAMPLES = 9_999


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and how certain it is.

    Attributes:
        n: Items it rests on.
        mean: None where it is not computed.
        low: Lower end of the 95% interval; None where there is none, as of one item.
        high: Upper end.
        reason: Why there is no mean; else empty.
    """

    n: int
    mean: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        found = asdict(self)
        if not self.reason:
            del found["reason"]
        return found


@dataclass(frozen=True, slots=True)
class Difference:
    """What one method has more than another, on the items both have.

    Attributes:
        estimate: Mean of the differences, one minus other, with a bootstrap interval.
        only_one: Items that only the one has.
        only_other: Items that only the other has.
    """

    estimate: Estimate
    only_one: int
    only_other: int

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**self.estimate.as_dict(), "only_one": self.only_one, "only_other": self.only_other}


def mean_interval(values: Sequence[float]) -> Estimate:
    """The mean over items with its 95% interval by Student's t, as in the paper's Table 12.

    Items count as independent, which 22 groups asked one question are not quite: the interval is then too narrow. It
    is not cut at 0 or 1.
    """
    n = len(values)
    if n == 0:
        return Estimate(0, None, reason="no item has a value")
    mean = math.fsum(values) / n
    if n == 1:
        return Estimate(1, mean)
    from scipy.stats import t  # late: half a second

    half = float(t.ppf((1 + LEVEL) / 2, n - 1)) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return Estimate(n, mean, mean - half, mean + half)


def rate_interval(
    rate: Callable[[NDArray[np.int64]], NDArray[np.float64]], counts: NDArray[np.int64], seed: int = 0
) -> Estimate:
    """A rate of all items, such as macro F1, with a percentile bootstrap interval over items.

    Args:
        rate: Of counts, (..., options, options).
        counts: How often each gold option was predicted as each, (options, options).
        seed: Of the resampling.
    """
    n = int(counts.sum())
    if n == 0:
        return Estimate(0, None, reason="no item has a value")
    mean = float(rate(counts))
    if n == 1:
        return Estimate(1, mean)
    # Items drawn with replacement are draws of the cells in which they lie.
    draws = np.random.default_rng(seed).multinomial(n, counts.ravel() / n, size=_RESAMPLES)
    low, high = np.quantile(rate(draws.reshape(-1, *counts.shape)), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(n, mean, float(low), float(high))


def paired_difference(one: Mapping[str, float], other: Mapping[str, float], *, seed: int = 0) -> Difference:
    """The mean difference of two methods on the items both have, with a percentile bootstrap interval over items.

    Args:
        one: A metric by item id.
        other: The same metric of the other method.
        seed: Of the resampling; the same seed gives the same interval.

    Raises:
        InputError: Fewer than two items are in both.
    """
    both = [item for item in one if item in other]
    if len(both) < 2:
        raise InputError(f"{len(both)} items are in both results", "compare methods that were run on the same items")
    from scipy.stats import bootstrap

    differences = np.array([one[item] - other[item] for item in both])
    found = bootstrap(
        (differences,), np.mean, n_resamples=_RESAMPLES, batch=500, method="percentile",
        random_state=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    estimate = Estimate(len(both), float(differences.mean()), float(found.low), float(found.high))
    return Difference(estimate, len(one) - len(both), len(other) - len(both))
