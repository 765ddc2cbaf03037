"""Agreement between judges beyond chance: Fleiss' kappa. Knows verdicts by judge; knows no judge.

Our own dozen lines: scikit-learn has kappa for two raters only, and statsmodels would be a dependency for this one
formula. Tested against the figures of Fleiss (1971).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from ethos.errors import InputError

RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Agreement:
    """Fleiss' kappa of several judges.

    Attributes:
        kappa: 1 is perfect agreement, 0 what chance gives, below 0 less than chance; None where all judges always
            chose the same one category, which leaves nothing to agree beyond chance about.
        low: Lower end of the 95% percentile interval, by a bootstrap over items; None where kappa is.
        high: Upper end.
        observed: Share of pairs of judges who agree on an item, 0..1.
        items: How many items all judges judged.
        judges: Who.
    """

    kappa: float | None
    low: float | None
    high: float | None
    observed: float
    items: int
    judges: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return asdict(self)


def fleiss_kappa(counts: NDArray[np.int64]) -> float | None:
    """Fleiss' kappa (Psychological Bulletin 76, 1971, 378-382).

    Args:
        counts: How many raters put each item into each category, (items, categories); all items have as many raters.

    Returns:
        None if all ratings are in one category.

    Raises:
        InputError: No item, fewer than two raters, or items with unlike numbers of raters.
    """
    if counts.ndim != 2 or not len(counts):
        raise InputError("there is no item that several judges judged")
    raters = counts.sum(axis=1)
    if raters.min() != raters.max() or raters[0] < 2:
        raise InputError(
            f"the items have {raters.min()} to {raters.max()} judges", "give each item to the same two or more judges"
        )
    observed = float(_agreeing(counts).mean())
    chance = float(np.square(counts.sum(axis=0) / counts.sum()).sum())
    return None if chance == 1.0 else (observed - chance) / (1.0 - chance)


def agreement(verdicts: Mapping[str, Mapping[str, str]], seed: int = 0) -> Agreement:
    """Agreement of judges on the items that all of them judged.

    Args:
        verdicts: By judge, the verdict by item.
        seed: Of the bootstrap.

    Raises:
        InputError: Fewer than two judges, or no item that all judged.
    """
    if len(verdicts) < 2:
        raise InputError(f"{len(verdicts)} judge was given, and agreement needs two", "judge again with another model")
    items = sorted(set.intersection(*(set(of_one) for of_one in verdicts.values())))
    if not items:
        raise InputError(f"no item was judged by all of {', '.join(verdicts)}", "let them judge the same items")
    categories = sorted({of_one[item] for of_one in verdicts.values() for item in items})
    given = [[of_one[item] for of_one in verdicts.values()] for item in items]
    counts = np.array([[row.count(category) for category in categories] for row in given])
    low, high = _interval(counts, seed)
    observed = float(_agreeing(counts).mean())
    return Agreement(fleiss_kappa(counts), low, high, observed, len(items), tuple(verdicts))


def _agreeing(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of each item, the share of pairs of raters who agree."""
    raters = int(counts[0].sum())
    shares: NDArray[np.float64] = (np.square(counts).sum(axis=1) - raters) / (raters * (raters - 1))
    return shares


def _interval(counts: NDArray[np.int64], seed: int) -> tuple[float | None, float | None]:
    """Of resamples in which all ratings are alike, kappa is not defined; they are left out."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(counts), size=(RESAMPLES, len(counts)))
    found = [kappa for rows in drawn if (kappa := fleiss_kappa(counts[rows])) is not None]
    if not found:
        return None, None
    low, high = np.percentile(np.array(found, dtype=float), (2.5, 97.5))
    return float(low), float(high)
