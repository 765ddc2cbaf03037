"""Facts about the pool as a whole, such as what its gate was calibrated to.

Knows one table of names and JSON values; not what they mean.
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.dialects.sqlite import insert

from ethos.pool import schema
from ethos.pool.database import Database

_VALUE = select(schema.PoolFact.value).where(schema.PoolFact.name == bindparam("name"))


class Facts:
    """Named JSON values of one pool."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, name: str) -> Any:
        """A fact's value; None if it was never put."""
        with self._database.read() as connection:
            stored = connection.execute(_VALUE, {"name": name}).scalar()
        return None if stored is None else json.loads(stored)

    def put(self, name: str, value: object) -> None:
        """Store a fact in place of what it was."""
        row = {"name": name, "value": json.dumps(value)}
        made = insert(schema.PoolFact).values(row)
        with self._database.write() as connection:
            connection.execute(made.on_conflict_do_update(index_elements=["name"], set_={"value": row["value"]}))
