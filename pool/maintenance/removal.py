"""Remove rows from the record with everything that refers to them, and their traces in the pool's files.

Knows what refers to what, by the tables' own foreign keys, and which files are derived; decides nothing about which
answers go.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, exists, func, select

from ethos.errors import PoolError
from ethos.pool.maintenance.full_text import discard
from ethos.pool.retrieval.snapshot import Snapshots
from ethos.pool.storage import schema
from ethos.pool.storage.database import Database


def among(column: Any, ids: Collection[str]) -> ColumnElement[bool]:
    """Whether a column holds one of many ids."""
    listed = func.json_each(json.dumps(list(ids))).table_valued("value")
    found: ColumnElement[bool] = column.in_(select(listed.c.value))
    return found


def drop_answers(connection: Connection, ids: Collection[str]) -> set[str]:
    """Delete answers with all that was written about them.

    Returns:
        Ids of the calls they rested on, which others may rest on too, and of those that their influences asked for.
    """
    call, member, attribution = schema.AnswerCallRow, schema.MemberRow, schema.AttributionRow
    rested = select(call.call_id).where(among(call.answer_id, ids))
    said = select(member.comment_call_id).where(among(member.answer_id, ids))
    calls = {*connection.execute(rested).scalars(), *connection.execute(said).scalars()}
    found: list[dict[str, Any]] = list(
        connection.execute(select(attribution.record).where(among(attribution.answer_id, ids))).scalars()
    )
    calls |= {asked for details in found for asked in details.get("calls", ())}
    for table in reversed(schema.Base.metadata.sorted_tables):
        if "answer_id" in table.c:
            connection.execute(delete(table).where(among(table.c.answer_id, ids)))
    connection.execute(delete(schema.AnswerRow).where(among(schema.AnswerRow.id, ids)))
    return calls


def drop_calls(connection: Connection, ids: Collection[str]) -> int:
    """Delete those of some calls that no answer rests on; how many."""
    return connection.execute(
        delete(schema.CallRow).where(among(schema.CallRow.id, ids), unused(schema.CallRow))
    ).rowcount


def drop_texts(connection: Connection) -> int:
    """Delete prompts and completions of calls that are no more; how many."""
    return connection.execute(delete(schema.TextRow).where(unused(schema.TextRow))).rowcount


def unused(table: type[schema.Base]) -> ColumnElement[bool]:
    """Whether no row of any table refers to a row of this one."""
    home = table.__table__
    assert isinstance(home, Table)
    referring = [
        column
        for other in schema.Base.metadata.sorted_tables
        for column in other.columns
        if any(key.column.table is home for key in column.foreign_keys)
    ]
    return and_(*(~exists().where(column == home.c.id) for column in referring))


def scrub(database: Database) -> None:
    """Leave nothing of deleted rows in the pool's folder: derived files, free pages, the log.

    Backups are left alone.

    Raises:
        PoolError: Somebody reads from the pool for so long that the log cannot be emptied.
    """
    Snapshots(database.folder, "").delete()
    discard(database.folder)
    with database.plain() as connection:
        connection.execute("VACUUM")
        [(busy, _, _)] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    if busy:
        raise PoolError(
            f"the rows are deleted, but {database.path}-wal still holds them, since somebody is reading from the pool",
            "close what uses the pool, then: ethos pool vacuum",
        )
