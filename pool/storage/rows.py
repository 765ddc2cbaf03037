"""Single-row reads and writes that several storage modules share, each within the caller's transaction.

Knows the tables; knows nothing of what is done with them.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection, or_, select
from sqlalchemy.dialects.sqlite import insert

from ethos.errors import InputError
from ethos.llm import ModelIdentity
from ethos.pool.storage import schema
from ethos.scenario import Scenario
from ethos.text.cleaning import digest


def now() -> str:
    """The time as stored: UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def text_id(text: str) -> str:
    """Content address of a text."""
    return digest("text", text)


def link(connection: Connection, persona_id: str, scenario_id: str) -> None:
    """Make a persona retrievable by a scenario, unless it is."""
    if not _linked(connection, persona_id, scenario_id):
        _log(connection, "add", persona_id, scenario_id)


def unlink(connection: Connection, persona_id: str, scenario_id: str) -> None:
    """Make a persona no longer retrievable by a scenario."""
    if _linked(connection, persona_id, scenario_id):
        _log(connection, "remove", persona_id, scenario_id)


def _log(connection: Connection, operation: str, persona_id: str, scenario_id: str) -> None:
    change = {"operation": operation, "persona_id": persona_id, "scenario_id": scenario_id}
    connection.execute(insert(schema.ChangeRow).values(change))


def _linked(connection: Connection, persona_id: str, scenario_id: str) -> bool:
    last = (
        select(schema.ChangeRow.operation)
        .filter_by(persona_id=persona_id, scenario_id=scenario_id)
        .order_by(schema.ChangeRow.seq.desc())
    )
    return connection.execute(last.limit(1)).scalar() == "add"


def put_scenario(connection: Connection, scenario: Scenario) -> None:
    """Store a scenario's topic once."""
    topic = scenario.topic
    row = {"id": topic.key, "situation": topic.situation, "options": list(topic.options), "created_at": now()}
    connection.execute(insert(schema.ScenarioRow).values(row).on_conflict_do_nothing())


def put_model(connection: Connection, model: ModelIdentity) -> None:
    """Store a model's identity once."""
    row = {"id": model.id, "name": model.name, "revision": model.revision, "precision": model.precision}
    connection.execute(insert(schema.ModelRow).values(row).on_conflict_do_nothing())


def resolve(connection: Connection, table: type[schema.Base], identifier: str, what: str, listing: str) -> str:
    """The one id in a table that starts with the given digits.

    Raises:
        InputError: None does, or several do.
    """
    column = table.__table__.c.id
    query = select(column).where(or_(column == identifier, column.startswith(identifier, autoescape=True))).limit(2)
    found = connection.execute(query).scalars().all()
    if len(found) == 1 and identifier:
        return str(found[0])
    cause = "fits more than one" if found and identifier else "is the start of no"
    raise InputError(f"{identifier!r} {cause} {what} id", f"see `{listing}`")
