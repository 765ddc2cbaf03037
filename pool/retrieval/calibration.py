"""Calibrate the gate: the coverage that a panel must reach to be served, with a stated guarantee.

Learn-then-test (Angelopoulos et al. 2021, arXiv 2110.01052) on scenarios the pool already has. Each is asked as if the
pool did not have it, and the panel found is held against the values of the personas that were made for it. Knows
neither database nor models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

NEVER = 1.01  # no panel covers more than all there is
STEPS = 50  # demands that are tried, equally many trials apart
STRICTEST = 3  # times as many hits as the fewest that could pass: one bad panel at the top does not end the search


@dataclass(frozen=True, slots=True)
class Trial:
    """One held-out scenario.

    Attributes:
        estimate: Coverage that the pool estimates for its panel, 0..1; None if it found no full panel.
        achieved: Share of the values of the scenario's own personas that the panel covers, 0..1.
    """

    estimate: float | None
    achieved: float


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be guaranteed: with this confidence, at most a share `delta` of hits lies under the floor.

    Attributes:
        delta: Bound on the share of hits under the floor, 0..1.
        floor: Share of a scenario's own values that a panel must cover to count as good, 0..1.
        confidence: Of the guarantee, 0..1.
    """

    delta: float = 0.1
    floor: float = 0.5
    confidence: float = 0.95


@dataclass(frozen=True, slots=True)
class Calibration:
    """The demand that keeps the target, what it costs in hits, and what it holds for.

    Attributes:
        target: What is guaranteed.
        required: Estimated coverage demanded of a hit; `NEVER` if no demand kept the target.
        trials: Held-out scenarios.
        hits: Trials that are hits under the demand.
        failures: Hits under the floor.
        interval: Clopper-Pearson interval of the share of hits under the floor, at the target's confidence.
        k: Size of the panels.
        threshold: Relevance from which a candidate was kept.
        embedder: Identity of the encoder.
        neighbours: How many scenarios the estimates were made from.
        created_at: When; UTC.
    """

    target: Target
    required: float
    trials: int
    hits: int
    failures: int
    interval: tuple[float, float]
    k: int
    threshold: float
    embedder: str
    neighbours: int
    created_at: str

    @property
    def hit_rate(self) -> float:
        """Share of new scenarios of this kind that can be expected to be hits."""
        return self.hits / self.trials

    def applies(self, k: int, threshold: float, embedder: str, neighbours: int) -> bool:
        """Whether the guarantee holds under these settings."""
        return (self.k, self.threshold, self.embedder, self.neighbours) == (k, threshold, embedder, neighbours)

    @property
    def sentence(self) -> str:
        """What is guaranteed, in words."""
        target, (low, high) = self.target, self.interval
        return (
            f"The gate is calibrated: at most {target.delta:.0%} of hits cover less than {target.floor:.0%} of their "
            f"own values, with {target.confidence:.0%} confidence, for panels of {self.k} at threshold "
            f"{self.threshold:g}. Seen on {self.trials} held-out scenarios: {self.failures} of {self.hits} hits "
            f"({low:.1%} to {high:.1%}); expected hit rate {self.hit_rate:.0%}."
        )

    def as_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return {**asdict(self), "interval": list(self.interval), "hit_rate": self.hit_rate}

    @classmethod
    def of(cls, stored: dict[str, object]) -> Calibration:
        """From what `as_dict` gave."""
        # Before their number depended on the pool's size, it was this.
        values: dict[str, object] = {"neighbours": 100} | stored
        del values["hit_rate"]
        target, interval = values.pop("target"), values.pop("interval")
        return cls(target=Target(**target), interval=tuple(interval), **values)  # type: ignore[arg-type]


def required_coverage(trials: Sequence[Trial], target: Target) -> float:
    """The least coverage to demand so that the share of hits under the floor stays within the bound.

    Demands are tested from the strictest down, each by the exact binomial tail at the full level, until one fails
    (fixed-sequence testing, so the confidence holds for the one that is returned). The sequence is made from the
    estimates alone.

    Returns:
        The demand, 0..1; `NEVER` if the strictest fails already, or there are too few trials.
    """
    from scipy.stats import binom  # late: half a second

    found = sorted(((t.estimate, t.achieved < target.floor) for t in trials if t.estimate is not None), reverse=True)
    if not found:
        return NEVER
    estimates = np.array([estimate for estimate, _ in found])
    failures = np.cumsum([failed for _, failed in found])
    alpha = 1.0 - target.confidence
    fewest = STRICTEST * math.ceil(math.log(alpha) / math.log1p(-target.delta))
    sizes = sorted({fewest, *(round(len(found) * step / STEPS) for step in range(1, STEPS + 1))})
    required = NEVER
    for size in sizes:
        if not fewest <= size <= len(found):
            continue
        demand = float(estimates[size - 1])
        hits = int((estimates >= demand).sum())
        if binom.cdf(int(failures[hits - 1]), hits, target.delta) > alpha:
            break
        # The loosest demand that passes with every full panel a hit: nothing need be demanded at all.
        required = 0.0 if hits == len(found) else demand
    return required


def calibration(
    trials: Sequence[Trial],
    target: Target,
    *,
    k: int,
    threshold: float,
    embedder: str,
    neighbours: int,
    created_at: str,
) -> Calibration:
    """Find the demand, and count what it lets through."""
    required = required_coverage(trials, target)
    hits = [trial for trial in trials if trial.estimate is not None and trial.estimate >= required]
    failures = sum(trial.achieved < target.floor for trial in hits)
    return Calibration(
        target=target,
        required=required,
        trials=len(trials),
        hits=len(hits),
        failures=failures,
        interval=interval(failures, len(hits), target.confidence),
        k=k,
        threshold=threshold,
        embedder=embedder,
        neighbours=neighbours,
        created_at=created_at,
    )


def interval(failures: int, hits: int, confidence: float) -> tuple[float, float]:
    """Clopper-Pearson interval of a share; all of 0..1 when nothing was seen."""
    if not hits:
        return 0.0, 1.0
    from scipy.stats import binomtest

    found = binomtest(failures, hits).proportion_ci(confidence_level=confidence, method="exact")
    return float(found.low), float(found.high)
