"""Lifecycle of a persona: active, quarantined or retired, with the reason of every change.

Knows the tables; chooses nothing. Only active personas are retrieved; all stay in the record of the answers they took
part in.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects.sqlite import insert

from ethos.errors import InputError
from ethos.pool.storage import schema
from ethos.pool.storage.database import Database
from ethos.pool.storage.rows import link, now, unlink


class Status(StrEnum):
    """Where a persona is in its life."""

    ACTIVE = "active"
    QUARANTINED = "quarantined"
    RETIRED = "retired"


def mark(database: Database, persona_ids: Sequence[str], status: Status, reason: str) -> int:
    """Give personas a status, in one transaction.

    Args:
        database: The pool's.
        persona_ids: Full ids of personas in the pool.
        status: The new one.
        reason: Why, for whoever reads the history later.

    Returns:
        How many had another status before.

    Raises:
        InputError: One of them was merged into another persona; its merge must be undone first.
    """
    changed = 0
    with database.write() as connection:
        for persona_id in persona_ids:
            kept = connection.execute(select(schema.MergeRow.kept_id).filter_by(duplicate_id=persona_id)).scalar()
            if kept is not None:
                raise InputError(
                    f"the persona {persona_id[:12]} was merged into {kept[:12]}",
                    f"undo that first: ethos pool dedupe --undo {persona_id[:12]}",
                )
            changed += put_status(connection, persona_id, status, reason)
    return changed


def history(database: Database, persona_id: str) -> list[dict[str, str]]:
    """A persona's changes of status, oldest first, as plain values."""
    row = schema.StatusChangeRow
    query = select(row.status, row.reason, row.created_at).filter_by(persona_id=persona_id).order_by(row.id)
    with database.read() as connection:
        return [dict(found) for found in connection.execute(query).mappings()]


def put_status(connection: Connection, persona_id: str, status: Status, reason: str) -> bool:
    """Change one persona's status and its links; whether it was another before."""
    current = connection.execute(select(schema.PersonaRow.status).filter_by(id=persona_id)).scalar_one()
    if current == status:
        return False
    connection.execute(update(schema.PersonaRow).filter_by(id=persona_id).values(status=status))
    row = {"persona_id": persona_id, "status": status, "reason": reason, "created_at": now()}
    connection.execute(insert(schema.StatusChangeRow).values(row))
    for scenario_id in homes(connection, persona_id):
        (link if status is Status.ACTIVE else unlink)(connection, persona_id, scenario_id)
    return True


def homes(connection: Connection, persona_id: str) -> list[str]:
    """The scenarios a persona was made for, and those of the duplicates it stands for."""
    merged = select(schema.MergeRow.duplicate_id).filter_by(kept_id=persona_id)
    query = select(schema.OriginRow.scenario_id).where(
        (schema.OriginRow.persona_id == persona_id) | schema.OriginRow.persona_id.in_(merged)
    )
    return list(connection.execute(query.distinct().order_by(schema.OriginRow.scenario_id)).scalars())
