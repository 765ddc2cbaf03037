"""Near duplicates: found by meaning and by words, merged with a record, and split again on request.

Knows the tables and FAISS. Cosine alone calls most distinct personas of one scenario the same, so the words must agree
as well (notes/peers.md A, 8). No persona is deleted: a duplicate is retired, and the one that was kept serves in its
place, in its scenarios and in its stored panels.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.sqlite import insert

from ethos.encoders.embedder import Vectors
from ethos.errors import InputError
from ethos.persona import Persona, clashes
from ethos.pool.curation.lifecycle import Status, homes, put_status
from ethos.pool.pool import Pool
from ethos.pool.storage import schema
from ethos.pool.storage.database import Database
from ethos.pool.storage.personas import panel_members
from ethos.pool.storage.rows import link, now, unlink
from ethos.text.cleaning import fold

COSINE = 0.97  # of the whole lines
OVERLAP = 0.85  # Jaccard index of their words
NEAREST = 10  # personas that each is compared with
_EMPTY_WORDS = frozenset(("a", "an", "and", "for", "in", "of", "on", "one", "s", "the", "to", "very"))
_PRECEDENCE = ("curated", "imported", "generated")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two personas that say the same.

    Attributes:
        kept: Whom to keep: the one a person wrote, else the older.
        duplicate: Who can go.
        cosine: Of their lines.
        overlap: Jaccard index of their words.
    """

    kept: Persona
    duplicate: Persona
    cosine: float
    overlap: float

    def as_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return {
            "kept_id": self.kept.id,
            "kept": self.kept.line,
            "duplicate_id": self.duplicate.id,
            "duplicate": self.duplicate.line,
            "cosine": self.cosine,
            "overlap": self.overlap,
        }


def overlap(one: Persona, other: Persona) -> float:
    """Jaccard index of two personas' words, 0..1."""
    first, second = _words(one.line), _words(other.line)
    return len(first & second) / len(first | second)


def near_pairs(personas: Sequence[Persona], vectors: Vectors) -> list[tuple[int, int, float]]:
    """Rows of personas whose vectors reach `COSINE`, with it; the nearest pairs first.

    Args:
        personas: Distinct.
        vectors: Unit rows of their lines, float32, (personas, dimensions).
    """
    import faiss  # late: only this command needs it here

    if len(personas) < 2:
        return []
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    cosines, rows = index.search(vectors, min(NEAREST + 1, len(personas)))
    found = {
        (min(i, int(j)), max(i, int(j))): float(cosine)
        for i in range(len(personas))
        for cosine, j in zip(cosines[i], rows[i], strict=True)
        if j != i and cosine >= COSINE
    }
    return sorted(((i, j, cosine) for (i, j), cosine in found.items()), key=lambda pair: (-pair[2], pair[0], pair[1]))


def find_duplicates(pool: Pool) -> list[Pair]:
    """Return the pairs of active personas that can be merged.

    A pair that shares a scenario is left alone, since a panel was made with both; so is one whose merge would put the
    same attribute twice into a stored panel, and one that differs in a word of its value or right/duty, since one word
    can turn the meaning round. What is found is what `merge` would do, rehearsed.
    """
    personas = list({link.persona.id: link.persona for link in pool.store.links()}.values())
    vectors = pool.vectors(persona.line for persona in personas)
    matrix = (
        np.stack([vectors[persona.line] for persona in personas]) if personas else np.empty((0, 0), dtype=np.float32)
    )
    near = [(personas[i], personas[j], cosine) for i, j, cosine in near_pairs(personas, matrix)]
    alike = [(one, other, cosine, overlap(one, other)) for one, other, cosine in near if _same_stand(one, other)]
    with pool.database.rehearsal() as connection:
        found = []
        for one, other, cosine, shared in alike:
            if shared >= OVERLAP:
                kept, duplicate = sorted((one, other), key=lambda persona: _precedence(connection, persona.id))
                found += _merge(connection, [Pair(kept, duplicate, cosine, shared)])
    return found


def merge(database: Database, pairs: Sequence[Pair]) -> list[Pair]:
    """Retire each duplicate and let the kept persona stand for it, in one transaction.

    Returns:
        The pairs that were merged: those that can still be, since the pool may have changed after they were found.
    """
    with database.write() as connection:
        return _merge(connection, pairs)


def _merge(connection: Connection, pairs: Sequence[Pair]) -> list[Pair]:
    """One pair after the other, so that each sees what those before it left."""
    merged = []
    for pair in pairs:
        if _mergeable(connection, pair.kept, pair.duplicate):
            _unite(connection, pair)
            merged.append(pair)
    return merged


def _unite(connection: Connection, pair: Pair) -> None:
    places = homes(connection, pair.duplicate.id)
    put_status(connection, pair.duplicate.id, Status.RETIRED, f"near duplicate of {pair.kept.id}")
    row = {
        "duplicate_id": pair.duplicate.id,
        "kept_id": pair.kept.id,
        "cosine": pair.cosine,
        "overlap": pair.overlap,
        "created_at": now(),
    }
    connection.execute(insert(schema.MergeRow).values(row))
    for scenario_id in places:
        link(connection, pair.kept.id, scenario_id)


def undo(database: Database, persona_id: str) -> str:
    """Take a merged persona out again; the id of the persona that stood for it.

    Raises:
        InputError: It was not merged.
    """
    with database.write() as connection:
        kept = connection.execute(select(schema.MergeRow.kept_id).filter_by(duplicate_id=persona_id)).scalar()
        if kept is None:
            raise InputError(
                f"the persona {persona_id[:12]} was not merged into another", "see `ethos pool dedupe --list`"
            )
        connection.execute(delete(schema.MergeRow).filter_by(duplicate_id=persona_id))
        put_status(connection, persona_id, Status.ACTIVE, f"merge into {kept} undone")
        for scenario_id in set(homes(connection, persona_id)) - set(homes(connection, kept)):
            unlink(connection, kept, scenario_id)
    return str(kept)


def merges(database: Database) -> list[dict[str, object]]:
    """Every merge that stands, oldest first, as plain values."""
    query = select(schema.MergeRow.__table__).order_by(schema.MergeRow.created_at, schema.MergeRow.duplicate_id)
    with database.read() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", fold(text)))


def _same_stand(one: Persona, other: Persona) -> bool:
    """Whether two personas want the same, word for word but for those that carry no meaning."""
    pairs = ((one.core_value, other.core_value), (one.right_duty, other.right_duty))
    return all(not (_words(first) ^ _words(second)) - _EMPTY_WORDS for first, second in pairs)


def _precedence(connection: Connection, persona_id: str) -> tuple[bool, int, str, str]:
    """Sorts first who stands for others already, then by who wrote it, then by age."""
    stands = connection.execute(select(schema.MergeRow.kept_id).filter_by(kept_id=persona_id)).first()
    kinds = connection.execute(select(schema.OriginRow.kind).filter_by(persona_id=persona_id)).scalars().all()
    created = connection.execute(select(schema.PersonaRow.created_at).filter_by(id=persona_id)).scalar_one()
    return (stands is None, min(map(_PRECEDENCE.index, kinds), default=len(_PRECEDENCE)), created, persona_id)


def _mergeable(connection: Connection, kept: Persona, duplicate: Persona) -> bool:
    """Whether one persona can stand for the other wherever it is."""
    status = select(schema.PersonaRow.id).where(
        schema.PersonaRow.id.in_([kept.id, duplicate.id]), schema.PersonaRow.status == Status.ACTIVE
    )
    if len(connection.execute(status).all()) < 2:
        return False
    # A chain of merges could not be undone in any order.
    if connection.execute(select(schema.MergeRow.kept_id).filter_by(kept_id=duplicate.id)).first():
        return False
    if set(homes(connection, kept.id)) & set(homes(connection, duplicate.id)):
        return False
    panel = schema.PanelRow
    places = connection.execute(select(panel.scenario_id, panel.k).filter_by(persona_id=duplicate.id)).all()
    for scenario_id, k in places:
        # Members who are not active count as well, since they may come back.
        members = [placed.persona for placed in panel_members(connection, scenario_id, k, active=False)]
        if clashes(kept, [persona for persona in members if persona.id != duplicate.id]):
            return False
    return True
