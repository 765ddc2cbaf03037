"""Figures of the pool report: contents, variety and gaps.

Knows the store and vectors; knows no language model, nothing of how a panel is chosen, and no picture or page. What is
counted by framework and role is only as right as `families`, which sorts them, and says how right that is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ethos.encoders.embedder import Vectors
from ethos.persona import ATTRIBUTES, Persona, clashes
from ethos.pool.curation.diversity import groups, nearest_pairs, vendi
from ethos.pool.curation.duplicates import overlap
from ethos.pool.curation.families import (
    FRAMEWORK_FLOOR,
    FRAMEWORKS,
    OTHER,
    STAKEHOLDER_FLOOR,
    STAKEHOLDERS,
    sorted_into,
)
from ethos.pool.pool import Pool
from ethos.pool.retrieval.selection import COVERED
from ethos.pool.storage.rows import now
from ethos.pool.storage.values import Link
from ethos.text.cleaning import fold

PAIRS = 20
THIN = 10  # scenarios
EXPECTED = 3.0  # personas in a cell that is a gap when it is empty: chance leaves e^-3 of such cells empty, one in 20
EXAMPLES = 3  # texts named for a family
SHOWN = 110  # characters of a scenario


@dataclass(frozen=True, slots=True)
class Origins:
    """How many personas came from one source: a model, or a curated or imported collection."""

    kind: str
    made_by: str
    personas: int


@dataclass(frozen=True, slots=True)
class Family:
    """How many personas belong to a family, and the commonest texts that were sorted into it."""

    name: str
    personas: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EmptyCell:
    """A framework that no persona of a stakeholder group argues from.

    Attributes:
        framework: Family.
        stakeholder: Family.
        expected: Personas there would be if frameworks fell on stakeholders at random.
    """

    framework: str
    stakeholder: str
    expected: float


@dataclass(frozen=True, slots=True)
class ThinScenario:
    """A scenario whose personas want much the same.

    Attributes:
        situation: Its first characters.
        personas: Linked to it.
        values: Distinct core values.
        effective: Vendi score of its core values, which differs between scenarios with equally many values.
    """

    situation: str
    personas: int
    values: int
    effective: float


@dataclass(frozen=True, slots=True)
class Pair:
    """Two personas; cosine of their lines, Jaccard index of their words (0..1), and the attributes they share."""

    first: Persona
    second: Persona
    cosine: float
    overlap: float
    same: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PoolReport:
    """A pool in figures. All but `status` count active personas only.

    Attributes:
        pool: Name of the folder.
        made_at: UTC, ISO 8601.
        status: Personas by status.
        personas: Active ones.
        scenarios: Scenarios with an active persona.
        origins: Most first.
        distinct: Different texts by attribute, ignoring case.
        effective: Vendi score of what the personas value: each one's core value and right or duty.
        dimensions: Of the vectors; no Vendi score exceeds it.
        frameworks: Families of frameworks, the last of them `OTHER`.
        stakeholders: Families of roles, the last of them `OTHER`.
        grid: Personas by framework (rows) and stakeholder (columns), in the order of the families.
        empty_cells: Gaps of the grid where `EXPECTED` personas or more would be expected, most expected first.
        thin_scenarios: Fewest values first.
        pairs: The nearest ones.
    """

    pool: str
    made_at: str
    status: Mapping[str, int]
    personas: int
    scenarios: int
    origins: tuple[Origins, ...]
    distinct: Mapping[str, int]
    effective: float
    dimensions: int
    frameworks: tuple[Family, ...]
    stakeholders: tuple[Family, ...]
    grid: tuple[tuple[int, ...], ...]
    empty_cells: tuple[EmptyCell, ...]
    thin_scenarios: tuple[ThinScenario, ...]
    pairs: tuple[Pair, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; every persona of a pair with its id."""
        plain = asdict(self)
        for pair, values in zip(self.pairs, plain["pairs"], strict=True):
            for side, persona in (("first", pair.first), ("second", pair.second)):
                values[side] = {"persona_id": persona.id, **persona.as_dict()}
        return plain


@dataclass(frozen=True, slots=True)
class Census:
    """Everything that the figures and pictures are made from.

    Attributes:
        pool: Name of the folder.
        status: Personas by status.
        personas: The active ones, each once.
        links: Of active personas.
        origins: Of active personas.
        vectors: Unit vectors of personas' values and lines, by text.
        frameworks: Family of each persona's framework.
        stakeholders: Family of each persona's role.
    """

    pool: str
    status: Mapping[str, int]
    personas: tuple[Persona, ...]
    links: tuple[Link, ...]
    origins: tuple[Origins, ...]
    vectors: Mapping[str, Vectors]
    frameworks: tuple[str, ...]
    stakeholders: tuple[str, ...]

    def rows(self, *attributes: str) -> Vectors:
        """A unit row a persona, (personas, dimensions): the direction of the sum of these attributes' vectors."""
        if not self.personas:
            return np.empty((0, 0), dtype=np.float32)
        sums = np.stack([sum(self.vectors[getattr(p, name)] for name in attributes) for p in self.personas])
        rows: Vectors = sums / np.linalg.norm(sums, axis=1, keepdims=True)
        return rows


def take_census(pool: Pool, progress: Callable[[str], None]) -> Census:
    """Read a pool, and encode what was not encoded yet; the vectors are stored for the next time.

    Raises:
        ConfigurationError: The encoder cannot be loaded.
    """
    progress("reading the pool")
    links = tuple(pool.store.links())
    personas = tuple({link.persona.id: link.persona for link in links}.values())
    status = Counter(status for _, status in pool.store.personas())
    progress(f"encoding {len(personas)} personas")
    texts = [text for p in personas for text in (p.core_value, p.right_duty, p.line)]
    return Census(
        pool.database.folder.resolve().name,
        dict(status),
        personas,
        links,
        tuple(Origins(*found) for found in pool.store.sources()),
        pool.vectors(texts) if texts else {},
        sorted_into(FRAMEWORKS, [p.ethical_framework for p in personas], FRAMEWORK_FLOOR, pool.vectors),
        sorted_into(STAKEHOLDERS, [p.stakeholder_role for p in personas], STAKEHOLDER_FLOOR, pool.vectors),
    )


def measure(census: Census) -> PoolReport:
    """The figures of a pool."""
    stances = census.rows("core_value", "right_duty")
    grid = _grid(census)
    return PoolReport(
        pool=census.pool,
        made_at=now(),
        status=census.status,
        personas=len(census.personas),
        scenarios=len({link.scenario_id for link in census.links}),
        origins=census.origins,
        distinct={name: len({fold(getattr(p, name)) for p in census.personas}) for name in ATTRIBUTES},
        effective=vendi(stances),
        dimensions=stances.shape[1],
        frameworks=_families(FRAMEWORKS, census.frameworks, [p.ethical_framework for p in census.personas]),
        stakeholders=_families(STAKEHOLDERS, census.stakeholders, [p.stakeholder_role for p in census.personas]),
        grid=tuple(tuple(int(count) for count in row) for row in grid),
        empty_cells=_empty_cells(grid),
        thin_scenarios=_thin_scenarios(census),
        pairs=_pairs(census),
    )


def _families(families: Mapping[str, str], found: Sequence[str], texts: Sequence[str]) -> tuple[Family, ...]:
    counts = Counter(found)
    ranked = [text for text, _ in Counter(map(fold, texts)).most_common()]
    written = {fold(text): text for text in texts}
    family = {fold(text): name for text, name in zip(texts, found, strict=True)}
    return tuple(
        Family(name, counts[name], tuple([written[text] for text in ranked if family[text] == name][:EXAMPLES]))
        for name in (*families, OTHER)
    )


def _grid(census: Census) -> NDArray[np.int64]:
    """Personas by framework and stakeholder, `OTHER` last in both."""
    rows, columns = (*FRAMEWORKS, OTHER), (*STAKEHOLDERS, OTHER)
    grid = np.zeros((len(rows), len(columns)), dtype=np.int64)
    for framework, stakeholder in zip(census.frameworks, census.stakeholders, strict=True):
        grid[rows.index(framework), columns.index(stakeholder)] += 1
    return grid


def _empty_cells(grid: NDArray[np.int64]) -> tuple[EmptyCell, ...]:
    """Of the empty cells those that chance would hardly leave so; `OTHER` is no group that could be filled."""
    expected = np.outer(grid.sum(axis=1), grid.sum(axis=0)) / max(grid.sum(), 1)
    empty = [
        EmptyCell(framework, stakeholder, round(float(expected[row, column]), 1))
        for row, framework in enumerate(FRAMEWORKS)
        for column, stakeholder in enumerate(STAKEHOLDERS)
        if not grid[row, column] and expected[row, column] >= EXPECTED
    ]
    return tuple(sorted(empty, key=lambda cell: -cell.expected))


def _thin_scenarios(census: Census) -> tuple[ThinScenario, ...]:
    held: dict[str, list[Link]] = {}
    for link in census.links:
        held.setdefault(link.scenario_id, []).append(link)
    thin = []
    for links in held.values():
        values = np.stack([census.vectors[link.persona.core_value] for link in links])
        situation = " ".join(links[0].situation.split())
        shown = situation if len(situation) <= SHOWN else situation[: SHOWN - 1].rstrip() + "…"
        thin.append(ThinScenario(shown, len(links), groups(values, COVERED), round(vendi(values), 2)))
    return tuple(sorted(thin, key=lambda scenario: (scenario.values, scenario.effective, scenario.situation))[:THIN])


def _pairs(census: Census) -> tuple[Pair, ...]:
    pairs = []
    for near in nearest_pairs(census.rows("line"), PAIRS):
        one, other = census.personas[near.first], census.personas[near.second]
        pairs.append(Pair(one, other, near.cosine, overlap(one, other), tuple(clashes(one, [other]))))
    return tuple(pairs)
