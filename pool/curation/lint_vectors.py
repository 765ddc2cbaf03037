"""Rules of `ethos pool lint` that go by the meaning of texts, seen over the whole pool.

One function a rule; each yields whom it concerns and what is wrong. Precision comes first, as in the rules on words.
Knows links and a lookup of vectors; knows no database, encoder or kind of failure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ethos.encoders.embedder import Vectors
from ethos.pool.curation.lint_words import is_claim
from ethos.pool.retrieval.selection import COVERED
from ethos.pool.storage.values import Link

# Calibrated on the starter pool and on VITAL's gold values: false alarms on none and on 0.1% of their rights; of rights
# given another scenario, 2.4% and 1.4% are found. Looser thresholds add more false alarms than true ones: a small
# encoder knows little of what a right has to do with a scenario.
SCENARIOS = 50  # fewer cannot distinguish a value that is far from its scenario from one that is far from everything
REFERENCES = 500  # scenarios that a value is compared with
ELSEWHERE = 0.98  # quantile of its nearness to all scenarios that stands for where a value belongs
MISPLACED = -3.0  # standard scores by which a value's own scenario falls short of that
FAR = -0.5  # standard score below which a value is not about its scenario
RARE = 0.01  # share of the other scenarios that may hold the value as well; a value held more often is at home anywhere

THEME = 0.6  # cosine from which two core values, or one and a right/duty, are about one theme
CROWD = 3  # personas of one scenario that may not share a theme

Lookup = Callable[[Iterable[str]], Mapping[str, Vectors]]
Spotted = tuple[tuple[Link, ...], str]  # whom it concerns, all of one scenario, and what is wrong with the texts


def misplaced_values(links: Sequence[Link], vectors: Lookup) -> Iterator[Spotted]:
    """Rights and duties that belong to other scenarios of the pool than the one they were made for.

    A right is misplaced when it is far from its own scenario, near to some others, and held by next to nobody
    elsewhere: a right such as "Right to be heard" is at home anywhere. Nearness is a standard score over all rights of
    the pool, since a scenario in few words is near to little. Core values are too short for this.

    Yields:
        One link each; nothing where the pool has fewer than `SCENARIOS` scenarios.
    """
    situations = list(dict.fromkeys(link.situation for link in links))  # links come by content address: a fair sample
    if len(situations) < SCENARIOS:
        return
    rights = list(dict.fromkeys(link.persona.right_duty for link in links))
    found = vectors([*situations, *rights])
    values, scenes = np.stack([found[right] for right in rights]), np.stack([found[text] for text in situations])
    spread = values @ scenes[:REFERENCES].T
    mean, deviation = _moments(values, scenes)
    scores = (spread - mean[:REFERENCES]) / deviation[:REFERENCES]
    belongs = np.quantile(scores, ELSEWHERE, axis=1)
    value_row = {right: row for row, right in enumerate(rights)}
    scene_row = {situation: row for row, situation in enumerate(situations)}
    for link in links:
        row, scene = value_row[link.persona.right_duty], scene_row[link.situation]
        score = (float(values[row] @ scenes[scene]) - mean[scene]) / deviation[scene]
        if score <= FAR and score - belongs[row] <= MISPLACED:
            alike = values @ values[row] >= COVERED
            homes = {other.situation for other in links if alike[value_row[other.persona.right_duty]]}
            if len(homes - {link.situation}) <= max(1, RARE * len(situations)):
                nearer = situations[int(np.argmax(spread[row]))]
                right = link.persona.right_duty
                yield (link,), f"right/duty “{right}” is far from its scenario, and nearer to “{nearer}”"


def _moments(values: Vectors, scenes: Vectors) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each scenario's cosines with all values, without the matrix of them."""
    centre = values.mean(axis=0, dtype=np.float64)
    spread = np.cov(values.T.astype(np.float64), bias=True)
    variance = np.einsum("sd,de,se->s", scenes, spread, scenes, optimize=True)
    return scenes @ centre, np.sqrt(np.maximum(variance, 1e-9))  # no division by zero where all rights are the same


def thematic_overlap(links: Sequence[Link], vectors: Lookup) -> Iterator[Spotted]:
    """Scenarios of which three or more personas stand for one theme."""
    by_scenario: dict[str, list[Link]] = defaultdict(list)
    for link in links:
        by_scenario[link.scenario_id].append(link)
    found = vectors({text for link in links for text in (link.persona.core_value, link.persona.right_duty)})
    for group in by_scenario.values():
        for crowd in _crowds(group, found):
            texts = ", ".join(f"“{text}”" for _, text in crowd)
            message = f"{len(crowd)} of {len(group)} personas stand for one theme: {texts}"
            yield tuple(link for link, _ in crowd), message


def _crowds(links: Sequence[Link], vectors: Mapping[str, Vectors]) -> Iterator[list[tuple[Link, str]]]:
    """Groups of at least `CROWD` personas with one text each, every two of them alike; the largest first."""
    owned = [(link, text) for link in links for text in (link.persona.core_value, link.persona.right_duty)]
    matrix = np.stack([vectors[text] for _, text in owned])
    duty = np.array([is_claim(text) for _, text in owned])
    # Two rights or duties share their first words, which lifts their cosine.
    alike = matrix @ matrix.T >= np.where(duty[:, None] & duty, COVERED, THEME)
    left = set(range(len(owned)))
    while True:
        crowd = max((_crowd(seed, left, alike) for seed in sorted(left)), key=len, default=[])
        if len(crowd) < CROWD:
            return
        yield [owned[row] for row in crowd]
        left -= {row for member in crowd for row in (member - member % 2, member - member % 2 + 1)}


def _crowd(seed: int, left: set[int], alike: NDArray[np.bool_]) -> list[int]:
    """Rows that are all alike, one a persona, grown from one of them."""
    crowd = [seed]
    for row in sorted(left):
        if all(alike[row, member] and row // 2 != member // 2 for member in crowd):
            crowd.append(row)
    return crowd
