"""Store checked rows: new personas, known ones, and their status.

Knows the tables; knows no file. Writes many rows at a time, and gives rows the same ids as `Store.add` does, so that
what is there already is known again. Without trust nothing that comes in can be retrieved before it is approved: new
personas are quarantined, and known ones are not linked to the scenarios that a foreign file names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects.sqlite import insert

from ethos.encoders.identity import EmbedderIdentity
from ethos.errors import InputError
from ethos.persona import OriginKind
from ethos.pool.curation.lifecycle import Status, put_status
from ethos.pool.exchange.rows import Row
from ethos.pool.storage import schema
from ethos.pool.storage.database import Database
from ethos.pool.storage.rows import now, text_id
from ethos.pool.storage.values import Origin
from ethos.text.cleaning import digest

BATCH = 500  # rows


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms rows come in.

    Attributes:
        name: What they come from; becomes the source of their origins, and `approve` finds them by it.
        trust: Whether statuses, origins and panels of the rows are accepted.
        licence: Of the rows that name none.
        embedder: What the rows' vectors must be of to be taken, which they are only with trust; None takes none.
        dimensions: Of that embedder's vectors.
    """

    name: str
    trust: bool = False
    licence: str = ""
    embedder: EmbedderIdentity | None = None
    dimensions: int = 0

    def origin(self, row: Row) -> Origin:
        """How a persona came to be in this pool."""
        licence = row.licence or self.licence or None
        if self.trust and row.origin:
            return replace(row.origin, licence=licence)
        return Origin(OriginKind.IMPORTED, source=_claim(self.name, row.origin), licence=licence)

    def status(self, row: Row) -> Status:
        """What a persona that is new to the pool becomes; nobody comes in better than they were."""
        if self.trust or row.status is Status.RETIRED:
            return row.status
        return Status.QUARANTINED


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of rows.

    Attributes:
        personas: New to the pool.
        origins: New; the other rows said what was said before, in the same file or in the pool.
        links: New; so many personas can be found by so many more scenarios.
        vectors: Taken as they came.
    """

    personas: int = 0
    origins: int = 0
    links: int = 0
    vectors: int = 0

    def __add__(self, other: Stored) -> Stored:
        return Stored(
            self.personas + other.personas,
            self.origins + other.origins,
            self.links + other.links,
            self.vectors + other.vectors,
        )


def put_rows(connection: Connection, rows: Sequence[Row], terms: Terms) -> Stored:
    """Store some rows; those of a panel may come in several calls, so call `settle_panels` after the last."""
    stamp = now()
    known = _statuses(connection, {row.persona.id for row in rows})
    keys = {row.scenario: row.scenario.key for row in rows}
    origins = [(row, keys[row.scenario], terms.origin(row)) for row in rows]
    _insert(
        connection,
        schema.ScenarioRow,
        (
            {"id": key, "situation": scenario.situation, "options": list(scenario.options), "created_at": stamp}
            for scenario, key in keys.items()
        ),
    )
    _insert(
        connection,
        schema.ModelRow,
        (
            {"id": model.id, "name": model.name, "revision": model.revision, "precision": model.precision}
            for model in {origin.model for _, _, origin in origins if origin.model}
        ),
    )
    new = {row.persona.id: row for row in reversed(rows) if row.persona.id not in known}
    people = [
        {"id": one, **row.persona.as_dict(), "status": terms.status(row), "created_at": stamp}
        for one, row in new.items()
    ]
    _insert(connection, schema.PersonaRow, people)
    reason = f"imported from {terms.name}"
    _insert(
        connection,
        schema.StatusChangeRow,
        (
            {"persona_id": person["id"], "status": person["status"], "reason": reason, "created_at": stamp}
            for person in people
            if person["status"] != Status.ACTIVE
        ),
    )
    made = _insert(connection, schema.OriginRow, (_origin_row(*one, stamp) for one in origins))
    if not terms.trust:
        return Stored(len(new), made)
    pairs = {(row.persona.id, key) for row, key, _ in origins}
    links = len(_link(connection, pairs))
    _insert(connection, schema.PanelRow, (seat for row, key, _ in origins for seat in _seat_rows(row, key)))
    return Stored(len(new), made, links, _put_vectors(connection, rows, terms))


def settle_panels(connection: Connection) -> None:
    """Take away the panels of which not every place came in; a panel of which a place is free is served to nobody."""
    places = schema.PanelRow
    broken = select(places.scenario_id, places.k).group_by(places.scenario_id, places.k).having(func.count() < places.k)
    for scenario_id, k in connection.execute(broken).all():
        connection.execute(delete(places).filter_by(scenario_id=scenario_id, k=k))


def approve(database: Database, name: str, why: str = "") -> int:
    """Let what came from one source be retrieved, in one transaction.

    Quarantined personas become active, and those that were known before are linked to the scenarios they came with;
    who was retired stays so.

    Args:
        database: The pool's.
        name: The source, as it was named when it was imported.
        why: For whoever reads the history later.

    Returns:
        How many personas are found now that were not, or by more scenarios than before.

    Raises:
        InputError: Nothing came from there.
    """
    origin, persona = schema.OriginRow, schema.PersonaRow
    from_there = (origin.source == name) | origin.source.startswith(f"{name}: ", autoescape=True)
    pairs_there = select(origin.persona_id, origin.scenario_id).where(origin.kind == OriginKind.IMPORTED, from_there)
    waiting = select(persona.id).where(
        persona.status == Status.QUARANTINED, persona.id.in_(pairs_there.with_only_columns(origin.persona_id))
    )
    with database.write() as connection:
        changed = set(connection.execute(waiting).scalars())
        for persona_id in sorted(changed):
            put_status(connection, persona_id, Status.ACTIVE, why or f"approved with all from {name}")
        pairs = [(persona_id, scenario_id) for persona_id, scenario_id in connection.execute(pairs_there.distinct())]
        if not pairs:
            raise InputError(f"nothing was imported from {name!r}", "`ethos pool show ID` shows a persona's source")
        for start in range(0, len(pairs), BATCH):
            changed |= {persona_id for persona_id, _ in _link(connection, pairs[start : start + BATCH])}
    return len(changed)


def _claim(name: str, origin: Origin | None) -> str:
    """Return a source's name with its own, unverified statement of the persona's origin."""
    if origin is None:
        return name
    model = f"by {origin.model.name}" if origin.model else ""
    prompts = f"with {origin.prompt_set}" if origin.prompt_set else ""
    claim = ", ".join(part for part in (f"{origin.kind} {model}".strip(), prompts, origin.source) if part)
    return f"{name}: {claim}"


def _insert(connection: Connection, table: type[schema.Base], rows: Iterable[dict[str, Any]]) -> int:
    """Insert the rows that are not there; how many were not."""
    given = list(rows)
    return connection.execute(insert(table).on_conflict_do_nothing(), given).rowcount if given else 0


def _statuses(connection: Connection, ids: Collection[str]) -> dict[str, Status]:
    """The status of those personas that are in the pool."""
    row = schema.PersonaRow
    found = connection.execute(select(row.id, row.status).where(row.id.in_(ids)))
    return {persona_id: Status(status) for persona_id, status in found}


def _link(connection: Connection, pairs: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """Make personas retrievable by scenarios, those who are active or whom an active one stands for; the new links.

    What `ethos.pool.storage.personas.link` does for one.
    """
    change, merged = schema.ChangeRow, schema.MergeRow
    ids = {persona_id for persona_id, _ in pairs}
    merges = select(merged.duplicate_id, merged.kept_id).where(merged.duplicate_id.in_(ids))
    stands = {duplicate: kept for duplicate, kept in connection.execute(merges)}  # noqa: C416  (typed so)
    wanted = {(stands.get(persona_id, persona_id), scenario_id) for persona_id, scenario_id in pairs}
    statuses = _statuses(connection, {persona_id for persona_id, _ in wanted})
    last = select(func.max(change.seq)).where(change.persona_id.in_(statuses))
    newest = last.group_by(change.persona_id, change.scenario_id)
    linked = select(change.persona_id, change.scenario_id).where(change.seq.in_(newest), change.operation == "add")
    held = {(persona_id, scenario_id) for persona_id, scenario_id in connection.execute(linked)}
    new = {pair for pair in wanted - held if statuses[pair[0]] is Status.ACTIVE}
    rows = ({"operation": "add", "persona_id": one, "scenario_id": where} for one, where in sorted(new))
    _insert(connection, change, rows)
    return new


def _origin_row(row: Row, scenario_id: str, origin: Origin, stamp: str) -> dict[str, Any]:
    values = {
        "persona_id": row.persona.id,
        "scenario_id": scenario_id,
        "kind": str(origin.kind),
        "model_id": origin.model.id if origin.model else None,
        "prompt_set": origin.prompt_set,
        "seed": origin.seed,
        "source": origin.source,
        "licence": origin.licence,
    }
    return {"id": digest("origin", values), "created_at": stamp, **values}


def _seat_rows(row: Row, scenario_id: str) -> list[dict[str, Any]]:
    return [{"scenario_id": scenario_id, "persona_id": row.persona.id, **asdict(seat)} for seat in row.seats]


def _put_vectors(connection: Connection, rows: Sequence[Row], terms: Terms) -> int:
    """Store the vectors of the embedder's own size; the others are made anew when they are needed."""
    if terms.embedder is None:
        return 0
    fitting = {text: vector for row in rows for text, vector in row.vectors.items() if len(vector) == terms.dimensions}
    made = {**asdict(terms.embedder), "id": terms.embedder.id, "dimensions": terms.dimensions}
    _insert(connection, schema.EmbedderRow, [made])
    return _insert(
        connection,
        schema.EmbeddingRow,
        (
            {"embedder_id": terms.embedder.id, "text_id": text_id(text), "vector": vector.astype("<f4").tobytes()}
            for text, vector in fitting.items()
        ),
    )
