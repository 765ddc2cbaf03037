"""Influence over all answers: dominating personas, frameworks and stakeholders, and those unused.

Knows the record and the families of the report; calls no model.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sqlalchemy import select

from ethos.encoders.embedder import Vectors
from ethos.pool.curation.families import FRAMEWORK_FLOOR, FRAMEWORKS, STAKEHOLDER_FLOOR, STAKEHOLDERS, sorted_into
from ethos.pool.storage import schema
from ethos.pool.storage.database import Database

VectorsOf = Callable[[Iterable[str]], Mapping[str, Vectors]]
TOP = 5


@dataclass(frozen=True, slots=True)
class Concentration:
    """How unevenly shares are spread over all who could have one; those without count as zero.

    Attributes:
        herfindahl: Sum of squared shares, 1/n to 1.
        top: Share of the `TOP` largest, 0..1.
        gini: 0 where all have the same, towards 1 where one has everything.
    """

    herfindahl: float
    top: float
    gini: float


@dataclass(frozen=True, slots=True)
class Standing:
    """One persona or family.

    Attributes:
        id: Of a persona; of a family its name.
        name: To show.
        personas: How many active personas of the pool it has; 1 or 0 for a persona.
        seats: Places in panels.
        seat_share: Of all seats, 0..1.
        influence_share: Mean share of an answer's influence, 0..1, over the answers whose influence is defined; each
            answer's influences are scaled to sum to 1, so that modes can be compared.
    """

    id: str
    name: str
    personas: int
    seats: int
    seat_share: float
    influence_share: float


@dataclass(frozen=True, slots=True)
class Say:
    """How the say is spread over personas, frameworks or stakeholders.

    Attributes:
        standings: Most influential first; those who never had a seat last.
        seats: Concentration of seats.
        influence: Concentration of influence; None if no answer has any.
    """

    standings: tuple[Standing, ...]
    seats: Concentration | None
    influence: Concentration | None

    @property
    def never(self) -> tuple[Standing, ...]:
        """Those who could be asked and never were."""
        return tuple(one for one in self.standings if not one.seats and one.personas)

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "concentration": {
                "seats": asdict(self.seats) if self.seats else None,
                "influence": asdict(self.influence) if self.influence else None,
            },
            "never": [one.id for one in self.never],
            "standings": [asdict(one) for one in self.standings if one.seats],
        }


@dataclass(frozen=True, slots=True)
class Stats:
    """Who has a say.

    Attributes:
        answers: How many answers there are.
        with_influence: How many of them have influences that can be shared out.
        personas: By persona.
        frameworks: By family of ethical frameworks.
        stakeholders: By family of stakeholder roles.
    """

    answers: int
    with_influence: int
    personas: Say
    frameworks: Say
    stakeholders: Say

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values; key names are a contract."""
        parts = {name: getattr(self, name).as_dict() for name in ("personas", "frameworks", "stakeholders")}
        return {"answers": self.answers, "answers_with_influence": self.with_influence, **parts}


def stats(database: Database, vectors: VectorsOf) -> Stats:
    """Who has a say over all recorded answers.

    Args:
        database: The pool's.
        vectors: Gives unit vectors of texts, to sort frameworks and roles into families.
    """
    persona, member = schema.PersonaRow, schema.MemberRow
    people = select(persona.id, persona.name, persona.ethical_framework, persona.stakeholder_role, persona.status)
    with database.read() as connection:
        everybody = connection.execute(people.order_by(persona.id)).all()
        seats = connection.execute(select(member.answer_id, member.persona_id, member.influence)).all()
    taken = Counter(seat.persona_id for seat in seats)
    influence, counted = _shares(seats)
    active = {row.id: int(row.status == "active") for row in everybody}
    rows = [row for row in everybody if active[row.id] or taken[row.id]]

    def by(group: Mapping[str, str], names: Mapping[str, str]) -> Say:
        totals: dict[str, list[float]] = defaultdict(lambda: [0, 0, 0.0])
        for row in rows:
            total = totals[group[row.id]]
            total[0] += active[row.id]
            total[1] += taken[row.id]
            total[2] += influence.get(row.id, 0.0) / counted if counted else 0.0
        return _say(totals, names, len(seats), bool(counted))

    families = {}
    for name, groups, floor in (
        ("ethical_framework", FRAMEWORKS, FRAMEWORK_FLOOR),
        ("stakeholder_role", STAKEHOLDERS, STAKEHOLDER_FLOOR),
    ):
        found = sorted_into(groups, [getattr(row, name) for row in rows], floor, vectors)
        families[name] = dict(zip([row.id for row in rows], found, strict=True))
    return Stats(
        len({seat.answer_id for seat in seats}),
        counted,
        by({row.id: row.id for row in rows}, {row.id: row.name for row in rows}),
        by(families["ethical_framework"], {}),
        by(families["stakeholder_role"], {}),
    )


def _shares(seats: Sequence[Any]) -> tuple[dict[str, float], int]:
    """Each persona's share of influence, summed over answers, and the number of answers that have some."""
    by_answer: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for answer_id, persona_id, value in seats:
        by_answer[answer_id].append((persona_id, value or 0.0))
    shares: dict[str, float] = defaultdict(float)
    counted = 0
    for members in by_answer.values():
        total = sum(value for _, value in members)
        if total > 0:
            counted += 1
            for persona_id, value in members:
                shares[persona_id] += value / total
    return shares, counted


def _say(totals: Mapping[str, Sequence[float]], names: Mapping[str, str], seats: int, influenced: bool) -> Say:
    standings = [
        Standing(
            key,
            names.get(key, key),
            int(personas),
            int(taken),
            round(taken / seats, 6) if seats else 0.0,
            round(share, 6),
        )
        for key, (personas, taken, share) in totals.items()
    ]
    standings.sort(key=lambda one: (-one.influence_share, -one.seats, one.name, one.id))
    return Say(
        tuple(standings),
        _concentration([one.seats for one in standings]) if seats else None,
        _concentration([one.influence_share for one in standings]) if influenced else None,
    )


def _concentration(parts: Sequence[float]) -> Concentration:
    shares = np.sort(np.asarray(parts, dtype=float))
    shares /= shares.sum()
    ranks = np.arange(1, len(shares) + 1)
    gini = float((2 * ranks - len(shares) - 1) @ shares) / len(shares)
    return Concentration(round(float(shares @ shares), 6), round(float(shares[-TOP:].sum()), 6), round(gini, 6))
