"""Read and write personas, their origins, their scenarios, and panels.

Knows the tables; knows neither models nor how a panel is chosen. Every method is one transaction.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Container, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Select, bindparam, delete, func, select
from sqlalchemy.dialects.sqlite import insert

from ethos.persona import ATTRIBUTES, OriginKind, Persona
from ethos.pool.storage import schema
from ethos.pool.storage.database import Database
from ethos.pool.storage.rows import link, now, put_model, put_scenario, resolve
from ethos.pool.storage.values import Change, History, Link, News, Origin, Placed, Position
from ethos.scenario import Scenario
from ethos.text.cleaning import digest

_PERSONA = [getattr(schema.PersonaRow, attribute) for attribute in ATTRIBUTES]

# Asked for every question, so put to the driver as they are.
# A forgetting rewrites the past: whoever stands before one knows links and situations that are no more.
_HISTORY = (
    "SELECT (SELECT max(seq) FROM changes), seq, link, (SELECT link FROM ledger AS seen WHERE seq = ? AND NOT EXISTS "
    "(SELECT 1 FROM ledger AS later WHERE later.seq > seen.seq AND later.operation = 'forget')) "
    "FROM ledger ORDER BY seq DESC LIMIT 1"
)
_HAS_PANEL = "SELECT 1 FROM panels WHERE scenario_id = ? AND k = ?"
_TEXTS = f"SELECT id, {', '.join(ATTRIBUTES)} FROM personas WHERE id IN (SELECT value FROM json_each(?))"
_SITUATIONS = "SELECT id, situation FROM scenarios WHERE id IN (SELECT value FROM json_each(?))"

_STANDS = func.coalesce(schema.MergeRow.kept_id, schema.PanelRow.persona_id)
_MEMBERS = (
    select(*_PERSONA, schema.PanelRow.relevance)
    .outerjoin(schema.MergeRow, schema.MergeRow.duplicate_id == schema.PanelRow.persona_id)
    .join(schema.PersonaRow, schema.PersonaRow.id == _STANDS)
    .where(schema.PanelRow.scenario_id == bindparam("scenario_id"), schema.PanelRow.k == bindparam("k"))
    .order_by(schema.PanelRow.rank)
)
_ACTIVE_MEMBERS = _MEMBERS.where(schema.PersonaRow.status == "active")


class Store:
    """The pool's personas in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        scenario: Scenario,
        personas: Sequence[Persona],
        origin: Origin,
        panel: Sequence[Placed] = (),
        retrievable: bool = True,
    ) -> int:
        """Store personas made for a scenario, and the panel they complete, in one transaction.

        A persona that is there already gains an origin; it is never stored twice. The panel row is written last and
        marks the scenario done; an earlier complete panel of the same size is kept. Where they are not to be
        retrievable, as when the scenario's text is withheld, no question finds them by it.

        Returns:
            How many of the personas are new to the pool.
        """
        with self._database.write() as connection:
            return self._put(connection, scenario, personas, origin, panel, retrievable)

    def add_panels(self, panels: Iterable[tuple[Scenario, Sequence[Persona]]], origin: Origin) -> int:
        """Store panels that were made for their scenarios, all in one transaction; else as `add`."""
        with self._database.write() as connection:
            return sum(
                self._put(connection, scenario, personas, origin, [Placed(persona, 1.0) for persona in personas], True)
                for scenario, personas in panels
            )

    def _put(
        self,
        connection: Connection,
        scenario: Scenario,
        personas: Sequence[Persona],
        origin: Origin,
        panel: Sequence[Placed],
        retrievable: bool,
    ) -> int:
        put_scenario(connection, scenario)
        if origin.model:
            put_model(connection, origin.model)
        new = sum(self._put_persona(connection, scenario, persona, origin, retrievable) for persona in personas)
        if panel and len(panel_members(connection, scenario.key, len(panel))) < len(panel):
            _replace_panel(connection, scenario.key, panel)
        return new

    def _put_persona(
        self, connection: Connection, scenario: Scenario, persona: Persona, origin: Origin, retrievable: bool
    ) -> bool:
        row = {"id": persona.id, **persona.as_dict(), "created_at": now()}
        new = connection.execute(insert(schema.PersonaRow).values(row).on_conflict_do_nothing()).rowcount > 0
        values = {
            "persona_id": persona.id,
            "scenario_id": scenario.key,
            "kind": str(origin.kind),
            "model_id": origin.model.id if origin.model else None,
            "prompt_set": origin.prompt_set,
            "seed": origin.seed,
            "source": origin.source,
            "licence": origin.licence,
        }
        made = insert(schema.OriginRow).values(id=digest("origin", values), created_at=now(), **values)
        connection.execute(made.on_conflict_do_nothing())
        kept = connection.execute(select(schema.MergeRow.kept_id).filter_by(duplicate_id=persona.id)).scalar()
        serving = kept or persona.id
        status = connection.execute(select(schema.PersonaRow.status).filter_by(id=serving)).scalar_one()
        if retrievable and status == "active":
            link(connection, serving, scenario.key)
        return new

    def panel(self, scenario_id: str, k: int) -> list[Placed]:
        """The panel that was generated for exactly this scenario; empty if none, or if a member is not active."""
        with self._database.glance() as connection:
            if not connection.execute(_HAS_PANEL, (scenario_id, k)).fetchone():
                return []
        with self._database.read() as connection:
            members = panel_members(connection, scenario_id, k)
        return members if len(members) == k else []

    def links(self) -> list[Link]:
        """Every active persona with every scenario it is linked to, in order of scenario and persona."""
        last = select(func.max(schema.ChangeRow.seq)).group_by(
            schema.ChangeRow.persona_id, schema.ChangeRow.scenario_id
        )
        query = _link_rows().where(schema.ChangeRow.seq.in_(last), schema.ChangeRow.operation == "add")
        ordered = query.order_by(schema.ChangeRow.scenario_id, schema.ChangeRow.persona_id)
        with self._database.read() as connection:
            return [_link(row) for row in connection.execute(ordered)]

    def news(self, above: int, personas: Container[str], scenarios: Container[str]) -> News:
        """What happened to the links after a mark.

        Args:
            above: Sequence number of the last change already known.
            personas: Ids of those already known.
            scenarios: Ids of those already known.
        """
        change = schema.ChangeRow
        changes = select(change.operation, change.persona_id, change.scenario_id).where(change.seq > above)
        concerned = select(change.persona_id).where(change.seq > above)
        situated = select(change.scenario_id).where(change.seq > above)
        people = select(schema.PersonaRow.id, *_PERSONA).where(schema.PersonaRow.id.in_(concerned))
        places = select(schema.ScenarioRow.id, schema.ScenarioRow.situation).where(schema.ScenarioRow.id.in_(situated))
        with self._database.read() as connection:
            now = _history(connection.connection.driver_connection, 0).now
            return News(
                [
                    Change(operation == "add", *ids)
                    for operation, *ids in connection.execute(changes.order_by(change.seq))
                ],
                {row[0]: tuple(row[1:]) for row in connection.execute(people) if row[0] not in personas},
                {row[0]: row[1] for row in connection.execute(places) if row[0] not in scenarios},
                now,
            )

    def texts(
        self, persona_ids: Collection[str], scenario_ids: Collection[str]
    ) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
        """The six texts of personas, and situations, by id, in one read."""
        with self._database.glance() as connection:
            people = connection.execute(_TEXTS, (json.dumps(list(persona_ids)),))
            places = connection.execute(_SITUATIONS, (json.dumps(list(scenario_ids)),))
            return {row[0]: row[1:] for row in people}, dict(places)

    def history(self, note: int) -> History:
        """Where the pool stands, and whether it went through a note that the caller saw."""
        with self._database.glance() as connection:
            return _history(connection, note)

    def personas(self, limit: int | None = None, offset: int = 0) -> list[tuple[Persona, str]]:
        """Personas with their status, oldest first."""
        query = select(*_PERSONA, schema.PersonaRow.status).order_by(schema.PersonaRow.created_at, schema.PersonaRow.id)
        with self._database.read() as connection:
            rows = connection.execute(query.limit(limit).offset(offset)).all()
        return [(_persona(row), row.status) for row in rows]

    def of_kind(self, *kinds: OriginKind) -> set[str]:
        """Ids of the personas that have an origin of one of these kinds."""
        query = select(schema.OriginRow.persona_id).where(schema.OriginRow.kind.in_(kinds)).distinct()
        with self._database.read() as connection:
            return set(connection.execute(query).scalars())

    def inactive(self) -> frozenset[str]:
        """Ids of the personas that are retired or quarantined."""
        query = select(schema.PersonaRow.id).where(schema.PersonaRow.status != "active")
        with self._database.read() as connection:
            return frozenset(connection.execute(query).scalars())

    def sources(self) -> list[tuple[str, str, int]]:
        """Kind of origin, model or collection, and how many active personas came from there; most first."""
        row, maker = schema.OriginRow, func.coalesce(schema.ModelRow.name, schema.OriginRow.source, "")
        count = func.count(row.persona_id.distinct())
        query = (
            select(row.kind, maker, count)
            .join(schema.PersonaRow, schema.PersonaRow.id == row.persona_id)
            .outerjoin(schema.ModelRow, schema.ModelRow.id == row.model_id)
            .where(schema.PersonaRow.status == "active")
            .group_by(row.kind, maker)
            .order_by(count.desc(), row.kind, maker)
        )
        with self._database.read() as connection:
            return [(kind, made_by, personas) for kind, made_by, personas in connection.execute(query)]

    def find(self, identifier: str) -> str:
        """The full id of the persona whose id starts with this.

        Raises:
            InputError: No persona's id does, or several do.
        """
        with self._database.read() as connection:
            return resolve(connection, schema.PersonaRow, identifier, "persona", "ethos pool list")

    def origins(self, persona_id: str) -> list[dict[str, object]]:
        """Every origin of one persona, oldest first, as plain values."""
        query = (
            select(schema.OriginRow, schema.ScenarioRow.situation, schema.ModelRow.name.label("model"))
            .join(schema.ScenarioRow, schema.ScenarioRow.id == schema.OriginRow.scenario_id)
            .outerjoin(schema.ModelRow, schema.ModelRow.id == schema.OriginRow.model_id)
            .where(schema.OriginRow.persona_id == persona_id)
            .order_by(schema.OriginRow.created_at)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).mappings().all()
        keys = ("kind", "model", "prompt_set", "seed", "source", "licence", "situation", "created_at")
        return [{key: row[key] for key in keys} for row in rows]

    def persona(self, persona_id: str) -> tuple[Persona, str]:
        """One persona by its full id, with its status."""
        query = select(*_PERSONA, schema.PersonaRow.status).where(schema.PersonaRow.id == persona_id)
        with self._database.read() as connection:
            row = connection.execute(query).one()
        return _persona(row), row.status


def _link_rows() -> Select[Any]:
    """Changes with the texts they are about."""
    return (
        select(*_PERSONA, schema.ChangeRow.operation, schema.ChangeRow.scenario_id, schema.ScenarioRow.situation)
        .join(schema.PersonaRow, schema.PersonaRow.id == schema.ChangeRow.persona_id)
        .join(schema.ScenarioRow, schema.ScenarioRow.id == schema.ChangeRow.scenario_id)
    )


def _link(row: Any) -> Link:
    return Link(_persona(row), row.scenario_id, row.situation)


def _history(connection: Any, note: int) -> History:
    row = connection.execute(_HISTORY, (note,)).fetchone()
    if row is None:
        return History(Position(), "")
    change, newest, link, then = row
    return History(Position(change or 0, newest, link or ""), then or "")


def _replace_panel(connection: Connection, scenario_id: str, panel: Sequence[Placed]) -> None:
    """Store a panel; an earlier one of the same size, of which a member was retired, makes room."""
    k = len(panel)
    connection.execute(delete(schema.PanelRow).filter_by(scenario_id=scenario_id, k=k))
    rows = [
        {"scenario_id": scenario_id, "k": k, "rank": rank, "persona_id": p.persona.id, "relevance": p.relevance}
        for rank, p in enumerate(panel, start=1)
    ]
    connection.execute(insert(schema.PanelRow), rows)


def panel_members(connection: Connection, scenario_id: str, k: int, active: bool = True) -> list[Placed]:
    """The members of a stored panel, those who are active or all; the persona kept stands for whoever was merged."""
    query = _ACTIVE_MEMBERS if active else _MEMBERS
    rows = connection.execute(query, {"scenario_id": scenario_id, "k": k})
    return [Placed(_persona(row), row.relevance) for row in rows]


def _persona(row: Any) -> Persona:
    return Persona(*(getattr(row, attribute) for attribute in ATTRIBUTES))
