"""Values that pass between the store and its readers: origins, panel places, links, changes, positions.

Plain data; knows neither tables nor SQL.
"""

from __future__ import annotations

from dataclasses import dataclass

from ethos.llm import ModelIdentity
from ethos.persona import OriginKind, Persona


@dataclass(frozen=True, slots=True)
class Position:
    """Where in a pool's history an index stands.

    Attributes:
        change: Number of the last change it holds.
        note: Number of the newest note in the ledger by then.
        link: That note's link, which no other history of the pool has.
    """

    change: int = 0
    note: int = 0
    link: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """How a persona came to be (design.md section 1)."""

    kind: OriginKind
    model: ModelIdentity | None = None
    prompt_set: str | None = None
    seed: int | None = None
    source: str | None = None
    licence: str | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """A persona at its place in a stored panel."""

    persona: Persona
    relevance: float


@dataclass(frozen=True, slots=True)
class Link:
    """An active persona and a scenario it was made for: the unit of retrieval."""

    persona: Persona
    scenario_id: str
    situation: str


@dataclass(frozen=True, slots=True)
class Change:
    """A link that came, or went because its persona was retired, quarantined or merged."""

    added: bool
    persona_id: str
    scenario_id: str


@dataclass(frozen=True, slots=True)
class News:
    """What happened to the links after a mark.

    Attributes:
        changes: In commit order.
        personas: The six texts, by id, of those of the changes that were not known.
        situations: By id, those of the changes' scenarios that were not known.
        position: Up to which all this is complete.
    """

    changes: list[Change]
    personas: dict[str, tuple[str, ...]]
    situations: dict[str, str]
    position: Position


@dataclass(frozen=True, slots=True)
class History:
    """Where the pool stands.

    Attributes:
        now: Its newest position.
        link_then: The link of the note that was asked about; empty if there is none such.
    """

    now: Position
    link_then: str
